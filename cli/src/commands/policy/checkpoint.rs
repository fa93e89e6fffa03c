//! What there is to say about a LeRobot checkpoint.

use super::info::{Port, Summary};
use serde_json::{Map, Value, json};
use sinew_policies::lerobot::config::BetaSchedule;
use sinew_policies::lerobot::processors::Relative;
use sinew_policies::lerobot::{
    ActConfig, Architecture, Checkpoint, DiffusionConfig, Feature, FeatureKind, Generation,
    Scaling, Step, Training, legacy,
};
use sinew_policies::manifest::Unit;

pub(super) fn summary(checkpoint: &Checkpoint) -> Summary {
    let (config, names) = (&checkpoint.config, &checkpoint.names);
    let (parameters, precisions) = parameters(checkpoint);
    let processors = &checkpoint.processors;
    let files = checkpoint.weights.files();
    Summary {
        path: checkpoint.dir.clone(),
        name: checkpoint.name(),
        description: String::new(),
        format: "LeRobot checkpoint".to_owned(),
        architecture: config.architecture.name().to_owned(),
        settings: settings(&config.architecture),
        robot: names.robot.clone(),
        rate_hz: names.rate_hz,
        n_obs_steps: Some(config.n_obs_steps),
        chunk_size: Some(config.architecture.chunk_size()),
        n_action_steps: Some(config.architecture.n_action_steps()),
        inputs: config.inputs.iter().map(|f| port(checkpoint, f)).collect(),
        outputs: config.outputs.iter().map(|f| port(checkpoint, f)).collect(),
        parameters: Some(parameters),
        precisions,
        size_bytes: checkpoint.weights.size(),
        files: files.map(ToOwned::to_owned).collect(),
        training: checkpoint
            .training
            .as_ref()
            .map(training)
            .unwrap_or_default(),
        before: processors.pre.iter().map(step).collect(),
        after: processors.post.iter().map(step).collect(),
        remarks: remarks(checkpoint),
    }
}

/// How many numbers the weights are, and how many of each type. Statistics do not count.
fn parameters(checkpoint: &Checkpoint) -> (u64, Map<String, Value>) {
    let mut all = 0;
    let mut types: Map<String, Value> = Map::new();
    for weight in checkpoint.weights.iter() {
        if legacy::is_statistic(weight.name) || weight.name.ends_with(".num_batches_tracked") {
            continue;
        }
        let count = weight.len() as u64;
        all += count;
        let before = types.get(weight.dtype.name()).and_then(Value::as_u64);
        let sum = before.unwrap_or(0) + count;
        types.insert(weight.dtype.name().to_owned(), json!(sum));
    }
    (all, types)
}

fn port(checkpoint: &Checkpoint, feature: &Feature) -> Port {
    let names = &checkpoint.names;
    let (kind, entries, units) = match feature.kind {
        FeatureKind::State => ("joints", names.state.clone(), Some(unit(names.units.unit))),
        FeatureKind::Action => ("joints", names.action.clone(), Some(unit(names.units.unit))),
        FeatureKind::Visual => {
            let robot = checkpoint.processors.robot_name(&feature.name);
            let camera = match robot == feature.name {
                true => names.camera(feature),
                false => robot.rsplit('.').next().unwrap_or(robot),
            };
            (
                "image",
                Some(vec![format!("camera {camera}")]),
                Some("0 to 1"),
            )
        }
        FeatureKind::Environment => ("surroundings", names.environment.clone(), Some("SI")),
        _ => ("not used", None, None),
    };
    let scaling = match feature.kind {
        FeatureKind::Action => checkpoint.processors.action(),
        _ => checkpoint.processors.input(&feature.name),
    };
    Port {
        name: feature.name.clone(),
        kind: kind.to_owned(),
        shape: feature.shape.iter().copied().map(Some).collect(),
        units: units.map(str::to_owned),
        normalisation: scaling.map(|scaling| scaling.mode.name().to_owned()),
        entries: entries.unwrap_or_default(),
    }
}

pub(super) fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Rad => "rad",
        Unit::Degrees => "degrees",
        Unit::Lerobot => "LeRobot's",
    }
}

fn settings(architecture: &Architecture) -> Map<String, Value> {
    let fields = match architecture {
        Architecture::Act(act) => of_act(act),
        Architecture::Diffusion(diffusion) => of_diffusion(diffusion),
        _ => json!({}),
    };
    match fields {
        Value::Object(mut map) => {
            map.retain(|_, value| !value.is_null());
            map
        }
        _ => Map::new(),
    }
}

fn of_act(act: &ActConfig) -> Value {
    json!({
        "backbone": act.vision_backbone,
        "width": act.dim_model,
        "heads": act.n_heads,
        "feed-forward": act.dim_feedforward,
        "encoder layers": act.n_encoder_layers,
        "decoder layers": act.n_decoder_layers,
        "norm": if act.pre_norm { "before" } else { "after" },
        "ensembling": act.temporal_ensemble_coeff,
    })
}

fn of_diffusion(diffusion: &DiffusionConfig) -> Value {
    let size = |size: Option<[usize; 2]>| size.map(|[height, width]| format!("{width}×{height}"));
    let schedule = match diffusion.beta_schedule {
        BetaSchedule::SquaredCosine => "squared cosine",
        BetaSchedule::Linear => "linear",
        BetaSchedule::ScaledLinear => "scaled linear",
    };
    json!({
        "horizon": diffusion.horizon,
        "backbone": diffusion.vision_backbone,
        "encoder": if diffusion.use_separate_rgb_encoder_per_camera { "one a camera" } else { "shared" },
        "norm": if diffusion.use_group_norm { "group" } else { "batch" },
        "resize": size(diffusion.resize_shape),
        "crop": size(diffusion.crop_shape),
        "U-Net": diffusion.down_dims.iter().map(usize::to_string).collect::<Vec<_>>().join("-"),
        "sampler": format!("{:?}", diffusion.noise_scheduler_type).to_uppercase(),
        "steps": diffusion.num_inference_steps,
        "schedule": schedule,
    })
}

fn training(training: &Training) -> Map<String, Value> {
    let mut map = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(name.to_owned(), value);
        }
    };
    put("dataset", training.dataset.clone().map(Value::from));
    put("episodes", training.episodes.map(Value::from));
    put("steps", training.steps.map(Value::from));
    put("batch", training.batch_size.map(Value::from));
    put("seed", training.seed.map(Value::from));
    put("job", training.job.clone().map(Value::from));
    put(
        "evaluated in",
        training.environment.clone().map(Value::from),
    );
    map
}

fn step(step: &Step) -> String {
    let scalings = |scalings: &[Scaling]| {
        let each = scalings.iter();
        let each: Vec<String> = each
            .map(|s| format!("{} {}", s.feature.name, s.mode.name()))
            .collect();
        each.join(", ")
    };
    match step {
        Step::Rename(map) => {
            let pairs = map.iter().map(|(from, to)| format!("{from} as {to}"));
            format!("rename {}", pairs.collect::<Vec<_>>().join(", "))
        }
        Step::ToBatch => "batch".to_owned(),
        Step::Device { device, .. } => format!("device {device}"),
        Step::Normalise(list) => format!("normalise ({})", scalings(list)),
        Step::Unnormalise(list) => format!("undo normalisation ({})", scalings(list)),
        Step::RelativeActions(Relative {
            enabled,
            exclude_joints,
            ..
        }) => match enabled {
            true if exclude_joints.is_empty() => "relative actions".to_owned(),
            true => format!("relative actions but {}", exclude_joints.join(", ")),
            false => "relative actions (off)".to_owned(),
        },
        Step::AbsoluteActions { enabled: true } => "absolute actions".to_owned(),
        Step::AbsoluteActions { enabled: false } => "absolute actions (off)".to_owned(),
        other => other.name().to_owned(),
    }
}

fn remarks(checkpoint: &Checkpoint) -> Vec<String> {
    let mut remarks = Vec::new();
    let config = &checkpoint.config;
    let mut say = |remark: String| remarks.push(remark);
    match config.generation {
        Generation::Shapes => {
            say("its config.json is of 2024: shapes by name and no type".to_owned())
        }
        _ if checkpoint.processors.legacy => {
            say("its statistics are among the weights, as before LeRobot 0.4".to_owned());
        }
        _ => {}
    }
    if checkpoint.names.rate_hz.is_none() {
        say("nothing says its rate; `rate_hz` in sinew.toml beside it can".to_owned());
    }
    if checkpoint.names.action.is_none() {
        say(
            "nothing names its joints; `state` and `action` in sinew.toml beside it can".to_owned(),
        );
    }
    if !config.unknown.is_empty() {
        say(format!(
            "unknown fields in config.json: {}",
            config.unknown.join(", ")
        ));
    }
    remarks
}
