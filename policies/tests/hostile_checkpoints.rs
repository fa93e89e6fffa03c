//! Checkpoints from strangers: damaged, made to hurt, or of another kind than they say. Each gives one
//! error that names the file and the place, and none takes memory beyond its size.

#[path = "support/checkpoint.rs"]
mod checkpoint;

use checkpoint::{Files, floats, put, safetensors, tensor, with_header};
use proptest::prelude::*;
use serde_json::{Value, json};
use sinew_policies::PolicyError;
use sinew_policies::lerobot::{Checkpoint, Config, Processors, Weights, check_safetensors};
use std::path::Path;

fn error_of(files: &Files) -> String {
    let folder = files.write();
    let error = Checkpoint::open(folder.path()).map(|_| ()).unwrap_err();
    one_line(&error)
}

fn one_line(error: &PolicyError) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 8192, "{text}");
    text
}

/// The error of a checkpoint whose weights are these bytes.
fn weights_error(bytes: Vec<u8>) -> String {
    let error = error_of(&Files {
        weights: bytes,
        ..Files::default()
    });
    assert!(error.contains("model.safetensors"), "{error}");
    error
}

fn header_error(header: &str, data: &[u8]) -> String {
    weights_error(with_header(header, data))
}

fn config_error(change: impl Fn(&mut Value)) -> String {
    let mut files = Files::default();
    change(&mut files.config);
    let error = error_of(&files);
    assert!(error.contains("config.json"), "{error}");
    error
}

#[track_caller]
fn says(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn the_checkpoint_to_be_spoilt_is_valid() {
    let folder = Files::default().write();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let state = checkpoint.processors.input("observation.state").unwrap();
    assert_eq!(
        [state.normalise(0, 2.0), state.normalise(1, 2.5)],
        [2.0, 2.0]
    );
    let action = checkpoint.processors.action().unwrap();
    assert_eq!(
        [action.unnormalise(0, 0.0), action.unnormalise(1, 1.0)],
        [1.0, 2.0]
    );
    assert_eq!(
        checkpoint.weights.get("model.a").unwrap().to_f32().as_ref(),
        [0.5; 6]
    );
}

#[test]
fn weights_cut_short_at_any_byte_are_refused() {
    let whole = Files::default().weights;
    for keep in 0..whole.len() {
        let error = weights_error(whole[..keep].to_vec());
        assert!(
            [
                "cut short",
                "at least 8",
                "not valid",
                "belong to no tensor"
            ]
            .iter()
            .any(|w| error.contains(w)),
            "{keep}: {error}"
        );
    }
}

#[test]
fn overlapping_offsets_are_refused() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    says(&header_error(header, &[0; 12]), &["`b` overlaps", "byte 4"]);
}

#[test]
fn gaps_and_trailing_bytes_are_refused() {
    let gap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    says(
        &header_error(gap, &[0; 8]),
        &["0..4", "belong to no tensor"],
    );
    let trailing = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    says(&header_error(trailing, &[0; 9]), &["5 bytes at its end"]);
}

#[test]
fn absurd_shapes_are_refused() {
    let header = r#"{"a":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#;
    says(
        &header_error(header, &[0; 8]),
        &["`a`", "larger than any memory"],
    );
    let header = r#"{"a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,8]}}"#;
    says(
        &header_error(header, &[0; 8]),
        &["4000000000 bytes", "0..8"],
    );
    let header = r#"{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}"#;
    says(&header_error(header, &[0; 4]), &["at most 8 sizes"]);
    let header = r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#;
    says(&header_error(header, &[0; 4]), &["not valid", "-1"]);
    let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#;
    says(&header_error(header, &[0; 4]), &["8..4"]);
}

#[test]
fn a_header_of_a_billion_elements_is_refused_unread() {
    // The length alone, and then a file that really has it.
    let mut bytes = 1_000_000_000u64.to_le_bytes().to_vec();
    says(&weights_error(bytes.clone()), &["1000000000", "at most"]);
    bytes.splice(..8, u64::MAX.to_le_bytes());
    says(&weights_error(bytes), &["at most"]);
    let folder = Files::default().write();
    let file = std::fs::File::create(folder.path().join("model.safetensors")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &1_000_000_000u64.to_le_bytes(), 0).unwrap();
    file.set_len(1_000_000_100).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    says(&one_line(&error), &["1000000000", "at most"]);
}

#[test]
fn more_tensors_than_any_network_has_are_refused() {
    let mut header = String::from("{");
    for i in 0..70_000 {
        header += &format!(r#""t{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}},"#);
    }
    header.pop();
    header.push('}');
    says(&header_error(&header, &[]), &["more than 65536 tensors"]);
}

#[test]
fn a_tensor_that_is_there_twice_is_refused() {
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    says(&header_error(header, &[0; 2]), &["`a` twice"]);
}

#[test]
fn unknown_types_are_named() {
    let header = r#"{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#;
    says(
        &header_error(header, &[0]),
        &["`a`", "`F8_E4M3`", "convert"],
    );
}

#[test]
fn weights_that_are_not_numbers_are_found_in_every_type() {
    for (dtype, bytes) in [
        ("F32", floats(&[1.0, f32::NAN])),
        ("F32", floats(&[1.0, f32::NEG_INFINITY])),
        ("F16", vec![0, 0, 0, 0x7c]),
        ("BF16", vec![0, 0, 0x80, 0x7f]),
        ("F64", [1.0f64, 1e300].map(f64::to_le_bytes).concat()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = safetensors(&[tensor("x.weight", dtype, &[2], &bytes)]);
        put(folder.path(), "model.safetensors", file);
        let weights = Weights::open(folder.path()).unwrap();
        let weight = weights.get("x.weight").unwrap();
        assert_eq!(weight.first_not_finite(), Some(1), "{dtype}");
    }
}

#[test]
fn weights_that_are_a_folder_or_a_pipe_are_refused() {
    let folder = Files::default().write();
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    std::fs::create_dir(folder.path().join("model.safetensors")).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    says(&one_line(&error), &["no regular file"]);
    let folder = Files::default().write();
    let path = folder.path().join("config.json");
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    let error = Checkpoint::open(folder.path()).unwrap_err();
    says(&one_line(&error), &["no config.json"]);
}

#[test]
fn pickles_are_never_opened() {
    for name in ["pytorch_model.bin", "model.pt", "policy.pkl", "last.ckpt"] {
        let folder = Files::default().write();
        std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        put(folder.path(), name, b"\x80\x04cos\nsystem\n");
        let error = Checkpoint::open(folder.path()).unwrap_err();
        assert!(matches!(error, PolicyError::OnlyPickle { .. }));
        says(
            &one_line(&error),
            &[name, "not opened", "model.safetensors"],
        );
    }
}

#[test]
fn adapters_and_empty_folders_say_what_to_do() {
    let folder = Files::default().write();
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    says(&one_line(&error), &["neither model.safetensors nor"]);
    put(folder.path(), "adapter_model.safetensors", b"");
    let error = Checkpoint::open(folder.path()).unwrap_err();
    says(&one_line(&error), &["adapter", "merge_and_unload"]);
    let nothing = tempfile::tempdir().unwrap();
    let error = Checkpoint::open(nothing.path()).unwrap_err();
    says(&one_line(&error), &["no config.json", "pretrained_model"]);
    says(
        &config_error(|config| config["use_peft"] = json!(true)),
        &["adapter", "merge"],
    );
}

/// A folder with shards of one tensor each.
fn sharded(index: &Value, shards: &[(&str, &str)]) -> Result<Weights, PolicyError> {
    let folder = tempfile::tempdir().unwrap();
    put(
        folder.path(),
        "model.safetensors.index.json",
        index.to_string(),
    );
    for (file, name) in shards {
        let bytes = safetensors(&[tensor(name, "F32", &[1], &floats(&[1.0]))]);
        put(folder.path(), file, bytes);
    }
    Weights::open(folder.path())
}

#[test]
fn shards_are_joined_and_checked_against_their_index() {
    let index = json!({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}});
    let weights = sharded(&index, &[("1.safetensors", "a"), ("2.safetensors", "b")]).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
    assert!(weights.get("b").unwrap().file.ends_with("2.safetensors"));
    let error = sharded(&index, &[("1.safetensors", "a"), ("2.safetensors", "c")]).unwrap_err();
    says(&one_line(&error), &["`b` is in no shard"]);
    let error = sharded(&index, &[("1.safetensors", "a"), ("2.safetensors", "a")]).unwrap_err();
    says(&one_line(&error), &["`a` is there twice"]);
    let error = sharded(&index, &[("1.safetensors", "a")]).unwrap_err();
    says(&one_line(&error), &["cannot read", "2.safetensors"]);
}

#[test]
fn an_index_cannot_name_files_elsewhere_or_too_many() {
    for path in [
        "../secret.safetensors",
        "/etc/passwd",
        "a\\b.safetensors",
        "pytorch_model.bin",
    ] {
        let error = sharded(&json!({"weight_map": {"a": path}}), &[]).unwrap_err();
        says(&one_line(&error), &["same folder"]);
    }
    let many: serde_json::Map<String, Value> = (0..300)
        .map(|i| (format!("t{i}"), json!(format!("{i}.safetensors"))))
        .collect();
    let error = sharded(&json!({"weight_map": many}), &[]).unwrap_err();
    says(&one_line(&error), &["more than 256 files"]);
    let error = sharded(&json!({"weight_map": 3}), &[]).unwrap_err();
    says(&one_line(&error), &["`weight_map`"]);
}

#[test]
fn json_bombs_are_refused() {
    let folder = Files::default().write();
    let open = |bytes: &[u8]| {
        put(folder.path(), "config.json", bytes);
        one_line(&Checkpoint::open(folder.path()).unwrap_err())
    };
    let deep = format!(
        r#"{{"type":{}1{}}}"#,
        "[".repeat(400_000),
        "]".repeat(400_000)
    );
    says(&open(deep.as_bytes()), &["config.json", "recursion limit"]);
    says(
        &open(&vec![b' '; 2 << 20]),
        &["config.json", "more than 1048576 bytes"],
    );
    says(&open(b"[1, 2]"), &["not a valid JSON object"]);
    says(
        &open(b"{\"type\": \"act\""),
        &["not a valid JSON object", "line 1"],
    );
    says(&open(b"\xff\xfe"), &["not a valid JSON object"]);
    let nested = |name: &str| {
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        with_header(&format!(r#"{{"{name}":{open}1{close}}}"#), &[])
    };
    says(&weights_error(nested("a")), &["header is not valid"]);
    // Nobody looks at metadata, and it is passed over without a stack.
    assert_eq!(check_safetensors(&nested("__metadata__")), Ok(0));
}

#[test]
fn sizes_of_configurations_are_limited_and_all_named() {
    let error = config_error(|config| {
        config["dim_model"] = json!(1_000_000_000_000u64);
        config["n_heads"] = json!(-1);
        config["n_encoder_layers"] = json!(1e9);
        config["chunk_size"] = json!("many");
        config["pre_norm"] = json!([]);
    });
    says(
        &error,
        &[
            "`dim_model` is 1000000000000",
            "`n_heads` is -1",
            "`n_encoder_layers`",
            "`chunk_size` is \"many\"",
            "`pre_norm`",
        ],
    );
    let error = config_error(|config| {
        config["input_features"]["observation.images.front"]["shape"] = json!([3, 1u64 << 40, 2]);
        config["output_features"]["action"]["shape"] = json!([0]);
    });
    says(&error, &["`observation.images.front`", "`action`"]);
    let error = config_error(|config| {
        let many = (0..100).map(|i| {
            (
                format!("observation.images.{i}"),
                json!({"type": "VISUAL", "shape": [3, 2, 2]}),
            )
        });
        config["input_features"] = Value::Object(many.collect());
    });
    says(&error, &["100 features", "at most 64"]);
}

#[test]
fn contradictions_in_configurations_are_named() {
    let with = |changes: Value| {
        config_error(|config| {
            for (name, value) in changes.as_object().unwrap() {
                config[name] = value.clone();
            }
        })
    };
    says(
        &with(json!({"n_action_steps": 5})),
        &["`n_action_steps` (5) is above `chunk_size` (4)"],
    );
    says(
        &with(json!({"temporal_ensemble_coeff": 0.01})),
        &["needs `n_action_steps` 1"],
    );
    says(
        &with(json!({"n_heads": 3})),
        &["`n_heads` (3) does not divide"],
    );
    says(
        &with(json!({"vision_backbone": "vit_b_16"})),
        &["`vision_backbone`", "resnet18"],
    );
    says(
        &with(json!({"n_obs_steps": 2})),
        &["`n_obs_steps` must be 1"],
    );
    says(
        &with(json!({"output_features": {}})),
        &["must name `action`"],
    );
    says(&with(json!({"input_features": {}})), &["needs an image"]);
    says(
        &with(json!({"normalization_mapping": {"STATE": "LOG"}})),
        &["`normalization_mapping`", "MEAN_STD"],
    );
}

fn diffusion(changes: Value) -> Result<Config, PolicyError> {
    let mut config = Files::default().config;
    config["type"] = json!("diffusion");
    config["n_obs_steps"] = json!(2);
    config["resize_shape"] = json!(null);
    config["horizon"] = json!(16);
    config["n_action_steps"] = json!(8);
    for name in ["chunk_size", "dim_model", "n_heads"] {
        config.as_object_mut().unwrap().remove(name);
    }
    for (name, value) in changes.as_object().unwrap() {
        config[name] = value.clone();
    }
    Config::parse(Path::new("config.json"), config.to_string().as_bytes())
}

#[test]
fn contradictions_in_diffusion_policies_are_named() {
    assert!(diffusion(json!({})).unwrap().unknown.is_empty());
    for (changes, parts) in [
        (json!({"horizon": 12}), ["`horizon` (12)", "multiple of 8"]),
        (
            json!({"n_action_steps": 16}),
            ["`n_action_steps` (16)", "= 15"],
        ),
        (
            json!({"crop_shape": [84, 84]}),
            ["`crop_shape` 84×84", "32×32"],
        ),
        (
            json!({"crop_shape": [84]}),
            ["`crop_shape`", "[height, width]"],
        ),
        (json!({"n_groups": 7}), ["`n_groups` (7)", "divide"]),
        (json!({"kernel_size": 4}), ["`kernel_size`", "odd"]),
        (
            json!({"num_inference_steps": 200}),
            ["`num_inference_steps` (200)", "(100)"],
        ),
        (json!({"noise_scheduler_type": "PNDM"}), ["DDPM", "DDIM"]),
        (
            json!({"resize_shape": [2, 2], "crop_ratio": 0.1}),
            ["`crop_ratio`", "nothing"],
        ),
        (json!({"beta_end": 7.0}), ["`beta_end`", "7"]),
    ] {
        says(&one_line(&diffusion(changes).unwrap_err()), &parts);
    }
}

#[test]
fn other_types_are_named() {
    let error = config_error(|config| config["type"] = json!("smolvla"));
    says(
        &error,
        &["`smolvla`", "not supported yet", "act and diffusion"],
    );
    let error = config_error(|config| {
        config.as_object_mut().unwrap().remove("type");
        config.as_object_mut().unwrap().remove("dim_model");
    });
    says(&error, &["`type`", "missing"]);
}

#[test]
fn unknown_fields_are_kept_and_not_fatal() {
    let mut files = Files::default();
    files.config["brand_new"] = json!({"a": [1]});
    files.config["dropout"] = json!(0.3);
    let folder = files.write();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.config.unknown, ["brand_new"]);
}

fn pre_error(change: impl Fn(&mut Value)) -> String {
    let mut files = Files::default();
    change(&mut files.pre);
    error_of(&files)
}

#[test]
fn unknown_processor_steps_are_named() {
    let error = pre_error(|pre| pre["steps"][0]["registry_name"] = json!("tokenizer_processor"));
    says(
        &error,
        &[
            "policy_preprocessor.json",
            "step 0",
            "`tokenizer_processor`",
        ],
    );
    let error =
        pre_error(|pre| pre["steps"][0] = json!({"class": "evil.module.Step", "config": {}}));
    says(&error, &["step 0", "`evil.module.Step`"]);
    let error = pre_error(|pre| pre["steps"][0] = json!({"config": {}}));
    says(&error, &["step 0", "neither"]);
    let error = pre_error(|pre| pre["steps"] = json!(vec![json!({}); 65]));
    says(&error, &["65 steps", "at most 64"]);
    let error = pre_error(|pre| pre["steps"] = json!(null));
    says(&error, &["`steps`"]);
}

#[test]
fn state_files_cannot_lie_elsewhere() {
    for path in ["../x.safetensors", "/dev/zero", "state.pkl"] {
        let error = pre_error(|pre| pre["steps"][1]["state_file"] = json!(path));
        says(&error, &["`state_file` of step 1", "same folder", path]);
    }
    let error = pre_error(|pre| pre["steps"][1]["state_file"] = json!("absent.safetensors"));
    says(&error, &["cannot read", "absent.safetensors"]);
}

#[test]
fn a_processor_order_of_other_meaning_is_refused() {
    let error = pre_error(|pre| {
        let again = pre["steps"][1].clone();
        pre["steps"].as_array_mut().unwrap().push(again);
    });
    says(&error, &["more than one step of normalisation"]);
    let error = pre_error(|pre| pre["steps"][1]["registry_name"] = json!("unnormalizer_processor"));
    says(&error, &["undone before the network"]);
    let mut files = Files::default();
    let add = json!({"registry_name": "absolute_actions_processor", "config": {"enabled": true}});
    files.post["steps"].as_array_mut().unwrap().push(add);
    says(&error_of(&files), &["`relative_actions_processor`"]);
    let relative =
        json!({"registry_name": "relative_actions_processor", "config": {"enabled": true}});
    files.pre["steps"].as_array_mut().unwrap().push(relative);
    says(&error_of(&files), &["while one of them is normalised"]);
}

#[test]
fn statistics_that_do_not_fit_are_named() {
    let with = |mean: Vec<f32>| {
        let shape = [mean.len()];
        let error = error_of(&Files {
            statistics: safetensors(&[
                tensor("observation.state.mean", "F32", &shape, &floats(&mean)),
                tensor("observation.state.std", "F32", &[1], &floats(&[1.0])),
            ]),
            ..Files::default()
        });
        assert!(error.contains("policy_preprocessor.json"), "{error}");
        error
    };
    says(
        &with(vec![0.0; 3]),
        &["`observation.state.mean` has 3 values", "has 2"],
    );
    says(
        &with(vec![0.0, f32::INFINITY]),
        &["`observation.state.mean`", "NaN or an infinity"],
    );
    let error = error_of(&Files {
        statistics: safetensors(&[tensor("action.min", "F32", &[2], &floats(&[0.0, 0.0]))]),
        ..Files::default()
    });
    says(
        &error,
        &["`action` is normalised by MIN_MAX", "`max` is missing"],
    );
    let error = error_of(&Files {
        statistics: safetensors(&[
            tensor("observation.state.mean", "F32", &[1], &floats(&[1.0])),
            tensor("observation.state.std", "F32", &[2], &floats(&[1.0, -1e-8])),
        ]),
        ..Files::default()
    });
    says(
        &error,
        &["`observation.state`", "nothing to divide by", "value 1"],
    );
    let error = pre_error(|pre| {
        pre["steps"][1]["config"]["features"]["observation.state"]["shape"] = json!([1]);
    });
    says(&error, &["has 2 values where `observation.state` has 1"]);
}

#[test]
fn one_processor_file_alone_is_refused() {
    let folder = Files::default().write();
    std::fs::remove_file(folder.path().join("policy_postprocessor.json")).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    says(&one_line(&error), &["policy_postprocessor.json is missing"]);
}

#[test]
fn a_legacy_checkpoint_without_statistics_lists_all_that_are_missing() {
    let folder = Files::default().write();
    for name in ["policy_preprocessor.json", "policy_postprocessor.json"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    let error = Checkpoint::open(folder.path()).unwrap_err();
    says(
        &one_line(&error),
        &[
            "`normalize_inputs.buffer_observation_state`",
            "buffer_observation_images_front",
            "`unnormalize_outputs.buffer_action`",
        ],
    );
}

#[test]
fn names_beside_a_checkpoint_are_checked() {
    let open = |text: &str| {
        let folder = Files::default().write();
        put(folder.path(), "sinew.toml", text);
        Checkpoint::open(folder.path())
    };
    let error = |text: &str| one_line(&open(text).unwrap_err());
    says(&error("robot = 3"), &["sinew.toml:1"]);
    says(&error("\nrate_hz = -1.0"), &["sinew.toml:2", "`rate_hz`"]);
    says(
        &error("action = [\"a\", \"a\"]"),
        &["`action` names `a` twice"],
    );
    says(&error("state = []"), &["`state` must not be empty"]);
    says(&error("joints = [\"a\"]"), &["unknown field `joints`"]);
    says(
        &error("units = \"rad\"\nranges = { a = [0.0, 1.0] }"),
        &["sinew.toml:2", "`ranges`"],
    );
    let text = "rate_hz = 25.0\nstate = [\"b\", \"a\"]\n[cameras]\n\"observation.images.front\" = \"top\"\n";
    let checkpoint = open(text).unwrap();
    assert_eq!(checkpoint.names.rate_hz, Some(25.0));
    assert_eq!(
        checkpoint.names.state.as_deref(),
        Some(&["b".to_owned(), "a".to_owned()][..])
    );
    let image = checkpoint.config.images().next().unwrap();
    assert_eq!(checkpoint.names.camera(image), "top");
}

/// A few bytes of a valid file, replaced.
fn damaged(whole: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = whole.len();
    proptest::collection::vec((0..length, any::<u8>()), 1..8).prop_map(move |edits| {
        let mut bytes = whole.clone();
        edits.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_weights_never_panic(bytes in damaged(Files::default().weights)) {
        let _ = check_safetensors(&bytes);
    }

    #[test]
    fn damaged_configurations_never_panic(bytes in damaged(Files::default().config.to_string().into_bytes())) {
        let _ = Config::parse(Path::new("config.json"), &bytes);
    }

    #[test]
    fn damaged_processors_never_panic(bytes in damaged(Files::default().pre.to_string().into_bytes())) {
        let _ = Processors::parse_steps(Path::new("policy_preprocessor.json"), &bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever opens has no tensor outside its file, and no panic in reading any.
    #[test]
    fn damaged_files_are_read_within_their_bounds(bytes in damaged(Files::default().statistics)) {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "model.safetensors", &bytes);
        if let Ok(weights) = Weights::open(folder.path()) {
            for weight in weights.iter() {
                prop_assert!(weight.offset as usize + weight.bytes.len() <= bytes.len());
                prop_assert_eq!(weight.to_f32().len(), weight.len());
                let _ = weight.first_not_finite();
            }
        }
    }
}
