//! Policies that describe themselves: by the notes in an ONNX file, or by a policy package.

mod support;

use proptest::prelude::*;
use sinew_policies::engines::onnx_card::ModelCard;
use sinew_policies::manifest::Source;
use sinew_policies::{Channel, EngineChoice, Features, Manifest, Policy, PolicyInput};
use sinew_runtime::{JointNames, JointState};
use std::collections::BTreeMap;
use std::path::Path;
use support::{features, fetched, field, manifest, matmul_model};

fn note(key: &str, value: &str) -> Vec<u8> {
    field(
        14,
        &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat(),
    )
}

/// What mjlab's exporter writes for a robot of two joints.
const MJLAB: [(&str, &str); 11] = [
    ("run_path", "me/run"),
    ("joint_names", "left_knee,right_knee"),
    ("joint_stiffness", "40.179,99.098"),
    ("joint_damping", "2.558,6.309"),
    ("default_joint_pos", "0.100,-0.200"),
    ("command_names", "twist"),
    (
        "observation_names",
        "base_ang_vel,projected_gravity,joint_pos,joint_vel,actions,command",
    ),
    (
        "observation_terms_scale",
        "0.250,1.000,1.000,0.050;0.100,1.000,1.000",
    ),
    ("observation_terms_history_length", "0,0,0,0,0,0"),
    (
        "observation_terms_clip",
        "-2.000;2.000,-inf;inf,-inf;inf,-inf;inf,-inf;inf,-inf;inf",
    ),
    ("action_scale", "0.500,0.250"),
];

fn card(changes: &[(&str, Option<&str>)]) -> ModelCard {
    let mut notes: BTreeMap<String, String> = MJLAB
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    for (key, value) in changes {
        match value {
            Some(value) => notes.insert((*key).to_owned(), (*value).to_owned()),
            None => notes.remove(*key),
        };
    }
    ModelCard {
        inputs: vec!["x".to_owned()],
        outputs: vec!["y".to_owned()],
        notes,
        ..ModelCard::default()
    }
}

/// A folder with one ONNX file that carries mjlab's notes: fifteen numbers in, their first two out.
fn exported() -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().unwrap();
    let mut weight = vec![0.0; 15 * 2];
    (weight[0], weight[3]) = (1.0, 1.0);
    let mut model = matmul_model(&weight, 15, 2);
    MJLAB
        .iter()
        .for_each(|(key, value)| model.extend(note(key, value)));
    std::fs::write(folder.path().join("walk.onnx"), model).unwrap();
    folder
}

#[test]
fn an_exported_file_needs_no_manifest() {
    let folder = exported();
    let imu = [
        "gravity.x",
        "gravity.y",
        "gravity.z",
        "angular_velocity.x",
        "angular_velocity.y",
        "angular_velocity.z",
    ];
    // Another order than the network's, and a joint's name decides.
    let robot = Features::new(&JointNames::new(["right_knee", "left_knee"]))
        .of_robot("whatever")
        .with_values(Channel::Imu, imu)
        .with_values(Channel::Command, ["velocity.x", "velocity.y", "yaw_rate"]);
    let mut policy = Policy::load(folder.path(), EngineChoice::Rten, robot).unwrap();
    let gains = Manifest::read(folder.path()).unwrap().gains.unwrap();
    assert_eq!(gains.of("right_knee"), Some([99.098, 6.309]));
    assert_eq!(policy.info().name, "walk");
    let mut joints = JointState {
        len: 2,
        ..JointState::default()
    };
    joints.position[..2].copy_from_slice(&[0.5, 0.3]);
    let input = PolicyInput {
        imu: &[0.0, 0.0, -1.0, 1.0, 12.0, 0.0],
        command: &[0.0; 3],
        ..PolicyInput::new(&joints)
    };
    let mut chunk = Vec::new();
    policy.infer(&input, &mut chunk).unwrap();
    // The first two numbers are turn rates, times a quarter, the second at its limit of 2 / 4.
    assert_eq!(chunk[0].positions(), [-0.2 + 0.25 * 0.5, 0.1 + 0.5 * 0.25]);
}

#[test]
fn notes_that_do_not_describe_a_policy_say_why() {
    let problem = |changes: &[(&str, Option<&str>)]| {
        let error = Manifest::from_metadata(Path::new("walk.onnx"), &card(changes)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("walk.onnx") && text.contains("policy.toml"),
            "{text}"
        );
        text
    };
    Manifest::from_metadata(Path::new("walk.onnx"), &card(&[])).unwrap();
    for (changes, expected) in [
        ([("joint_names", None)], "names no joints"),
        ([("joint_names", Some(""))], "names 0 joints"),
        ([("joint_names", Some("a,a"))], "`a` twice"),
        ([("joint_names", Some("[1, 2]"))], "no JSON list of texts"),
        (
            [("default_joint_pos", None)],
            "`default_joint_pos` is missing",
        ),
        (
            [("default_joint_pos", Some("1,2,3"))],
            "3 values for 2 joints",
        ),
        ([("action_scale", Some("nan"))], "only finite"),
        (
            [("action_scale", Some("much"))],
            "`much`, which is no number",
        ),
        ([("joint_stiffness", Some("-1"))], "not negative"),
        (
            [("observation_names", Some("smell"))],
            "6 entries for 1 terms",
        ),
        (
            [("observation_terms_history_length", Some("5,0,0,0,0,0"))],
            "history of 5",
        ),
        (
            [("observation_terms_scale", Some("0,1,1,1,1,1"))],
            "not above 0",
        ),
        (
            [("observation_terms_clip", Some("1,1,1,1,1,1"))],
            "lower and an upper",
        ),
    ] {
        let text = problem(&changes);
        assert!(text.contains(expected), "{text}");
    }
    let unknown = problem(&[
        ("observation_names", Some("smell")),
        ("observation_terms_scale", None),
        ("observation_terms_clip", None),
        ("observation_terms_history_length", None),
    ]);
    assert!(unknown.contains("`smell` is not known"), "{unknown}");
}

const BY_METADATA: &str = r#"
name = "two"
robot = "test"
rate_hz = 50.0
chunk_size = 1
n_action_steps = 1
[model]
file = "model.onnx"
[[input]]
tensor = "x"
kind = "joint_positions"
[[output]]
tensor = "y"
kind = "joint_targets"
"#;

fn holosoma(names: &str) -> ModelCard {
    let note = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    ModelCard {
        notes: [
            note("dof_names", names),
            note("kp", "[1.5, 2]"),
            note("kd", "[0.1, 0.2]"),
        ]
        .into(),
        ..ModelCard::default()
    }
}

#[test]
fn a_manifest_leaves_joints_to_the_model() {
    let two = manifest(BY_METADATA)
        .completed_by(&holosoma(r#"["b", "a"]"#))
        .unwrap();
    let Source::JointPositions(joints, _) = &two.inputs[0].source else {
        panic!("positions");
    };
    assert_eq!(
        (joints.as_slice(), two.outputs[0].joints.as_slice()),
        (&["b".into(), "a".into()][..], &["b".into(), "a".into()][..])
    );
    assert_eq!(two.gains.unwrap().of("a"), Some([2.0, 0.2]));

    let engine = support::Fake::new(
        vec![support::info("x", &[1, 2])],
        support::info("y", &[1, 2]),
        &[0.0; 2],
    );
    let error = Policy::with_engine(
        manifest(BY_METADATA),
        Box::new(engine),
        features(&["a", "b"]),
    );
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("names no joints") && error.contains("dof_names"),
        "{error}"
    );
}

#[test]
fn a_manifest_that_contradicts_the_model_is_refused() {
    let text = BY_METADATA.replace(
        r#""joint_targets""#,
        "\"joint_targets\"\njoints = [\"a\", \"b\"]",
    );
    let error = manifest(&text)
        .completed_by(&holosoma(r#"["b", "a"]"#))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`a` where the model's own metadata has `b`"),
        "{error}"
    );
    manifest(&text)
        .completed_by(&holosoma(r#"["a", "b"]"#))
        .unwrap();
}

#[test]
fn the_g1_s_networks_bring_joints_and_gains() {
    for kind in ["ppo", "fastsac"] {
        let bytes =
            std::fs::read(fetched(&format!("models/g1/policy/{kind}_g1_29dof.onnx"))).unwrap();
        let card = ModelCard::read(&bytes).unwrap();
        assert_eq!(
            (card.inputs.as_slice(), card.outputs.as_slice()),
            (&["actor_obs".to_owned()][..], &["action".to_owned()][..])
        );
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("g1").join(kind);
        let manifest = Manifest::read(&folder)
            .unwrap()
            .completed_by(&card)
            .unwrap();
        assert_eq!(manifest.outputs[0].joints.len(), 29);
        assert_eq!(
            manifest.gains.unwrap().of("left_knee_joint"),
            Some([99.098_427_777, 6.308_801_854])
        );
    }
}

const PACKAGE: &str = r#"{
  "format": "policy_package", "version": "1.0",
  "policy": {"name": "act", "source": {"repo_id": "me/act"}},
  "model": {
    "runner": {"type": "single_pass", "chunk_size": 2},
    "artifacts": {"model": "model.onnx"},
    "preprocessors": [{"type": "normalize", "mode": "mean_std", "artifact": "stats.safetensors", "features": ["observation.state"]}],
    "postprocessors": [{"class_path": "physicalai.inference.postprocessors.StatsDenormalizer",
      "init_args": {"mode": "min_max", "stats_path": "stats.safetensors", "features": ["action"]}}]
  },
  "hardware": {"robots": [{"name": "main", "type": "Koch",
    "state": {"shape": [2], "order": ["a.pos", "b.pos"]}, "action": {"shape": [2], "order": ["a.pos", "b.pos"]}}]}
}"#;

fn stats() -> Vec<u8> {
    let columns = [
        ("observation.state/mean", [10.0f32, 20.0]),
        ("observation.state/std", [2.0, 4.0]),
        ("action/min", [-90.0, -45.0]),
        ("action/max", [90.0, 45.0]),
    ];
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, values) in columns {
        let start = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let entry =
            serde_json::json!({"dtype": "F32", "shape": [2], "data_offsets": [start, data.len()]});
        header.insert(name.to_owned(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [(header.len() as u64).to_le_bytes().to_vec(), header, data].concat()
}

#[test]
fn a_policy_package_is_run_as_it_is() {
    let folder = tempfile::TempDir::new().unwrap();
    let model = matmul_model(&[1.0, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.5], 2, 4);
    // `x` and `y` are what the test's writer calls them; a package has LeRobot's names.
    let card = ModelCard::read(&model).unwrap();
    assert_eq!(card.inputs, ["x"]);
    std::fs::write(folder.path().join("stats.safetensors"), stats()).unwrap();
    std::fs::write(folder.path().join("manifest.json"), PACKAGE).unwrap();
    let renamed = rename(&model, b"x", b"state");
    std::fs::write(folder.path().join("model.onnx"), renamed).unwrap();
    let mut policy =
        Policy::load(folder.path(), EngineChoice::Rten, features(&["b", "a"])).unwrap();
    let mut joints = JointState {
        len: 2,
        ..JointState::default()
    };
    joints.position[..2].copy_from_slice(&[20f64.to_radians(), 12f64.to_radians()]);
    let mut chunk = Vec::new();
    policy
        .infer(&PolicyInput::new(&joints), &mut chunk)
        .unwrap();
    // a: (12 − 10) / 2 = 1 → 90°; b: 0 → 0°; then half of that.
    let degrees: Vec<Vec<f64>> = chunk
        .iter()
        .map(|step| {
            step.positions()
                .iter()
                .map(|p| p.to_degrees().round())
                .collect()
        })
        .collect();
    assert_eq!(degrees, [[0.0, 90.0], [0.0, 45.0]]);
}

/// Renames a tensor in the tiny models of `matmul_model`.
fn rename(model: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut model = model.to_vec();
    model = replace_in_graph(&model, from, to);
    model
}

/// Rebuilds the graph with every name `from` in nodes and inputs replaced.
fn replace_in_graph(model: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let old = field(1, from);
    let new = field(1, to);
    // ModelProto: IR version (2 bytes), graph, operator set.
    let (head, rest) = model.split_at(2);
    let (graph, tail) = split_field(rest);
    let mut parts = Vec::new();
    let mut left = graph;
    while !left.is_empty() {
        let tag = left[0];
        let (inner, next) = split_field(left);
        let inner = if tag >> 3 == 1 || tag >> 3 == 11 {
            substitute(inner, &old, &new)
        } else {
            inner.to_vec()
        };
        parts.extend(field(tag >> 3, &inner));
        left = next;
    }
    [head.to_vec(), field(7, &parts), tail.to_vec()].concat()
}

fn substitute(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(old.len())
        .position(|window| window == old)
        .unwrap();
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

/// Contents of the first field, and what follows it.
fn split_field(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (mut length, mut at) = (0usize, 1);
    for shift in (0..).step_by(7) {
        length |= usize::from(bytes[at] & 0x7f) << shift;
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            break;
        }
    }
    bytes[at..].split_at(length)
}

#[test]
fn a_package_that_cannot_be_run_says_why() {
    let card = ModelCard {
        inputs: vec!["state".to_owned()],
        outputs: vec!["action".to_owned()],
        ..ModelCard::default()
    };
    let problem = |from: &str, to: &str| {
        let text = PACKAGE.replace(from, to);
        assert!(text != PACKAGE, "{from}");
        Manifest::parse_package(text.as_bytes(), &card)
            .unwrap_err()
            .1
    };
    for (from, to, expected) in [
        ("policy_package", "zip", "`zip`, not `policy_package`"),
        ("\"1.0\"", "\"2.0\"", "version 1 can be read"),
        ("model.onnx", "model.xml", "OpenVINO"),
        ("model.onnx", "../model.onnx", "not a file inside"),
        (
            "\"stats.safetensors\", \"features\": [\"observation",
            "\"/etc/x\", \"features\": [\"observation",
            "not a file inside",
        ),
        ("single_pass", "denoise", "runner `denoise` is not known"),
        (
            "\"normalize\"",
            "\"pi05\"",
            "preprocessor `pi05` is not known",
        ),
        ("\"mean_std\"", "\"log\"", "`log`, which is not known"),
        (
            "\"chunk_size\": 2",
            "\"chunk_size\": 99999999",
            "`chunk_size`",
        ),
        ("\"a.pos\", \"b.pos\"", "\"a.pos\", \"a.pos\"", "each once"),
        ("\"robots\": [", "\"robots\": [], \"x\": [", "0 entries"),
        ("{\n  \"format\"", "{{\n  \"format\"", "no policy package"),
    ] {
        let text = problem(from, to);
        assert!(text.contains(expected), "{from} → {to}: {text}");
    }
}

proptest! {
    /// Whatever the notes say: a manifest or an error, in bounded time.
    #[test]
    fn no_notes_break_the_reader(notes in prop::collection::vec((0usize..12, "\\PC{0,60}|[-0-9.,;inf]{0,40}|\\[[-0-9.,\"a-z]{0,30}\\]"), 0..8)) {
        let mut card = card(&[]);
        for (at, value) in notes {
            let key = MJLAB.get(at).map_or("dof_names", |(key, _)| key);
            card.notes.insert(key.to_owned(), value);
        }
        let _ = Manifest::from_metadata(Path::new("walk.onnx"), &card);
        let _ = manifest(BY_METADATA).completed_by(&card);
    }

    #[test]
    fn no_bytes_break_the_card(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = ModelCard::read(&bytes);
        let _ = ModelCard::read(&field(7, &bytes));
        let _ = ModelCard::read(&field(14, &bytes));
    }

    #[test]
    fn no_change_breaks_the_package(at in 0usize..1000, byte: u8) {
        let mut text = PACKAGE.as_bytes().to_vec();
        let at = at % text.len();
        text[at] = byte;
        let _ = Manifest::parse_package(&text, &ModelCard::default());
    }
}
