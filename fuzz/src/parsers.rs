//! Public parsers that a stranger's bytes reach: one function each. None may panic, hang, or take
//! much more memory than its input. Also compiled into the tests, which replay `regressions/`.

use sinew_drivers::feetech::packet::{Parsed, Parser};
use sinew_hardware::blueprint::Origin;
use sinew_hardware::{Blueprint, Calibration};
use sinew_policies::engines::direct::{DirectEngine, Weights};
use sinew_policies::engines::onnx_card::ModelCard;
use sinew_policies::lerobot::{Config, Names, Processors, Training, check_safetensors};
use sinew_policies::{Engine, EngineChoice, Manifest, ModelBytes, Tensor};
use sinew_runtime::ros::messages::{
    CompressedImageMsg, DiagnosticArrayMsg, ImageMsg, JointStateMsg, JointTrajectoryMsg, Message,
    StringMsg,
};
use std::path::Path;

/// `robot.toml`.
pub fn blueprint(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(blueprint) = Blueprint::parse(&text, "robot.toml", Origin::BuiltIn) {
        let _ = Calibration::from_blueprint(&blueprint);
    }
}

/// A calibration file.
pub fn calibration(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(calibration) = Calibration::parse(&text, "arm.json") else {
        return;
    };
    assert_eq!(
        Calibration::parse(&calibration.to_json(), "arm.json").ok(),
        Some(calibration.clone()),
        "what is written is read back"
    );
    if let Ok(so101) = Blueprint::load("so101") {
        let _ = calibration.check(&so101);
    }
}

/// `policy.toml`.
pub fn manifest(bytes: &[u8]) {
    let _ = Manifest::parse(Path::new("policy.toml"), &String::from_utf8_lossy(bytes));
}

/// The header of a LeRobot policy's weights.
pub fn safetensors(bytes: &[u8]) {
    let _ = check_safetensors(bytes);
}

/// `config.json` and `train_config.json` of a LeRobot policy.
pub fn policy_config(bytes: &[u8]) {
    if let Ok(config) = Config::parse(Path::new("config.json"), bytes) {
        assert!(config.action().is_some_and(|action| !action.is_empty()));
        assert!(config.architecture.n_action_steps() <= config.architecture.chunk_size());
        for feature in config.inputs.iter().chain(&config.outputs) {
            let _ = (config.mode(feature), feature.camera(), feature.channels());
        }
    }
    let _ = Training::parse(Path::new("train_config.json"), bytes);
}

/// `policy_preprocessor.json` and `policy_postprocessor.json` of a LeRobot policy.
pub fn processors(bytes: &[u8]) {
    let Ok(pre) = Processors::parse_steps(Path::new("policy_preprocessor.json"), bytes) else {
        return;
    };
    let processors = Processors {
        post: pre.clone(),
        pre,
        legacy: false,
    };
    assert_eq!(processors.relative(6).len(), 6);
    let _ = processors.robot_name("observation.state");
}

/// `sinew.toml` beside a LeRobot policy.
pub fn names(bytes: &[u8]) {
    let _ = Names::parse(Path::new("sinew.toml"), &String::from_utf8_lossy(bytes));
}

/// The notes in a policy's ONNX file, and the manifest that they make.
pub fn metadata(bytes: &[u8]) {
    let Ok(card) = ModelCard::read(bytes) else {
        return;
    };
    let path = Path::new("model.onnx");
    let _ = Manifest::from_metadata(path, &card);
    let policy = "name = \"p\"\nrobot = \"r\"\nrate_hz = 50.0\nchunk_size = 1\nn_action_steps = 1\n[model]\nfile = \"m\"\n\
        [[input]]\ntensor = \"x\"\nkind = \"joint_positions\"\n[[output]]\ntensor = \"y\"\nkind = \"joint_targets\"\n";
    if let Ok(manifest) = Manifest::parse(path, policy) {
        let _ = manifest.completed_by(&card);
    }
}

/// An Intel policy package's `manifest.json`.
pub fn package(bytes: &[u8]) {
    let card = ModelCard {
        inputs: ["state", "images.front"].map(str::to_owned).to_vec(),
        outputs: vec!["action".to_owned()],
        ..ModelCard::default()
    };
    let _ = Manifest::parse_package(bytes, &card);
}

/// A policy's network: the check before any engine, and the engine that is built in.
pub fn onnx(bytes: &[u8]) {
    let Ok(model) = ModelBytes::new(Path::new("model.onnx"), bytes.to_vec()) else {
        return;
    };
    let Ok(mut engine) = EngineChoice::Rten.open(model, 1) else {
        return;
    };
    let direct = DirectEngine::load(bytes, Weights::F32, engine.inputs(), engine.outputs());
    let small = |size: Option<usize>| size.unwrap_or(1).min(8);
    let inputs: Vec<Tensor> = engine
        .inputs()
        .iter()
        .map(|input| Tensor::zeros(&input.shape.iter().map(|d| small(*d)).collect::<Vec<_>>()))
        .collect();
    let mut outputs = vec![Tensor::default(); engine.outputs().len()];
    let _ = engine.run(&inputs, &mut outputs);
    if let Some(mut direct) = direct {
        let _ = direct.run(&inputs, &mut outputs);
    }
}

/// Bytes from a servo bus, in pieces of the length of the first byte.
pub fn feetech(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let mut parser = Parser::new();
    let mut packets = 0;
    for piece in bytes.chunks(usize::from(*piece).max(1)) {
        parser.push(piece);
        while let Some(parsed) = parser.next_packet(|id, len| id < 200 && len < 120) {
            if let Parsed::Packet(packet) = parsed {
                packets += packet.params.len() as u64 + 6;
            }
        }
        let _ = parser.pending_id();
    }
    while parser.abandon() {
        while parser.next_packet(|_, _| true).is_some() {}
    }
    assert!(packets <= parser.consumed() && parser.consumed() == bytes.len() as u64);
    assert!(parser.discarded() <= parser.consumed());
}

/// ROS 2 messages from the network.
pub fn cdr(bytes: &[u8]) {
    fn each<M: Message + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
        let _ = M::decode(bytes).map(|message| {
            let mut out = Vec::new();
            message.encode(&mut out);
        });
    }
    each::<JointStateMsg>(bytes);
    each::<ImageMsg>(bytes);
    each::<CompressedImageMsg>(bytes);
    each::<JointTrajectoryMsg>(bytes);
    each::<DiagnosticArrayMsg>(bytes);
    each::<StringMsg>(bytes);
}
