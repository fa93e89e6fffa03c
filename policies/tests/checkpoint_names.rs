//! What a checkpoint and the files around it say about joints, rate and training, and where it is found.

#[path = "support/checkpoint.rs"]
mod checkpoint;

use checkpoint::{Files, floats, put, safetensors, tensor};
use serde_json::json;
use sinew_policies::lerobot::names::joints_of;
use sinew_policies::lerobot::training::DatasetNames;
use sinew_policies::lerobot::{Checkpoint, Dtype, Weights};

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_checkpoint_is_found_in_the_folders_that_lerobot_puts_around_it() {
    let inner = Files::default().write();
    for place in ["pretrained_model", "checkpoints/last/pretrained_model"] {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join(place);
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(inner.path(), &folder).unwrap();
        assert_eq!(Checkpoint::open(outer.path()).unwrap().dir, folder);
    }
}

#[test]
fn the_datasets_names_and_rate_are_taken_where_it_is_there() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("meta")).unwrap();
    let info = json!({"fps": 25, "robot_type": "so101_follower", "features": {
        "observation.state": {"names": ["a.pos", "b.pos"]},
        "action": {"names": {"motors": ["a", "b"]}},
    }});
    put(data.path(), "meta/info.json", info.to_string());
    let folder = Files::default().write();
    let train = json!({
        "dataset": {"repo_id": "someone/data", "root": data.path(), "episodes": [0, 1, 2]},
        "steps": 5000, "batch_size": 8, "seed": 3, "job_name": "pick", "env": {"type": "pusht"},
    });
    put(folder.path(), "train_config.json", train.to_string());
    let opened = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(opened.names.rate_hz, Some(25.0));
    assert_eq!(opened.names.state, Some(texts(&["a", "b"])));
    assert_eq!(opened.names.action, Some(texts(&["a", "b"])));
    let training = opened.training.unwrap();
    assert_eq!(
        (training.steps, training.batch_size, training.episodes),
        (Some(5000), Some(8), Some(3))
    );
    assert_eq!(training.environment.as_deref(), Some("pusht"));
    // What stands beside the checkpoint counts before the dataset.
    put(
        folder.path(),
        "sinew.toml",
        "rate_hz = 50.0\naction = [\"b\", \"a\"]\n",
    );
    let opened = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(opened.names.rate_hz, Some(50.0));
    assert_eq!(opened.names.action, Some(texts(&["b", "a"])));
    assert_eq!(opened.names.state, Some(texts(&["a", "b"])));
}

#[test]
fn a_dataset_that_says_nothing_useful_is_passed_over() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(DatasetNames::read(data.path()), None);
    std::fs::create_dir(data.path().join("meta")).unwrap();
    put(data.path(), "meta/info.json", "[]");
    assert_eq!(DatasetNames::read(data.path()), None);
    put(
        data.path(),
        "meta/info.json",
        r#"{"fps": -1, "features": {"action": {"names": null}}}"#,
    );
    let names = DatasetNames::read(data.path()).unwrap();
    assert_eq!((names.fps, names.action, names.state), (None, None, None));
    let folder = Files::default().write();
    put(
        folder.path(),
        "train_config.json",
        r#"{"dataset": {"repo_id": "../../etc", "root": null}}"#,
    );
    assert_eq!(Checkpoint::open(folder.path()).unwrap().names.state, None);
}

#[test]
fn joints_are_bound_by_name_or_in_order_with_a_warning() {
    let robot = texts(&["a", "b"]);
    let (joints, warning) = joints_of("action", 2, Some(&texts(&["b", "a"])), &robot).unwrap();
    assert_eq!((joints, warning), (texts(&["b", "a"]), None));
    let (joints, warning) = joints_of("action", 2, None, &robot).unwrap();
    assert_eq!(joints, robot);
    assert!(warning.unwrap().contains("sinew.toml"));
    let wrong =
        |size, named: Option<&[String]>| joints_of("action", size, named, &robot).unwrap_err();
    assert!(wrong(3, None).contains("3 values and the robot has 2 joints"));
    assert!(wrong(3, Some(&robot)).contains("3 values and 2 names"));
    assert!(wrong(1, Some(&texts(&["c"]))).contains("the joints c"));
}

#[test]
fn weights_are_read_in_place_whatever_their_type_and_alignment() {
    let folder = tempfile::tempdir().unwrap();
    let half = [0x3c00u16, 0xc000].map(u16::to_le_bytes).concat();
    let file = safetensors(&[
        tensor("byte", "U8", &[1], &[7]),
        tensor("x._orig_mod.half", "F16", &[2], &half),
        tensor("double", "F64", &[], &0.25f64.to_le_bytes()),
        tensor("single", "F32", &[2, 1], &floats(&[1.5, -2.5])),
        tensor("count", "I64", &[], &3i64.to_le_bytes()),
    ]);
    let path = put(folder.path(), "model.safetensors", &file);
    let weights = Weights::open(folder.path()).unwrap();
    // In the order of the alphabet, and without what torch.compile adds.
    assert_eq!(
        weights.names().collect::<Vec<_>>(),
        ["byte", "count", "double", "single", "x.half"]
    );
    let values = |name: &str| weights.get(name).unwrap().to_f32().into_owned();
    assert_eq!(values("byte"), [7.0]);
    assert_eq!(values("x.half"), [1.0, -2.0]);
    assert_eq!(values("double"), [0.25]);
    assert_eq!(values("count"), [3.0]);
    let single = weights.get("single").unwrap();
    assert_eq!(
        (single.dtype, single.shape, single.len()),
        (Dtype::F32, &[2, 1][..], 2)
    );
    assert_eq!(single.to_f32().as_ref(), [1.5, -2.5]);
    // Another program finds the same bytes at the place that is told.
    assert_eq!(single.file, path);
    let start = usize::try_from(single.offset).unwrap();
    assert_eq!(&file[start..start + 8], floats(&[1.5, -2.5]));
    assert_eq!(weights.size(), file.len() as u64);
    assert!(weights.get("nothing").is_none());
}
