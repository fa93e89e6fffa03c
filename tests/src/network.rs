//! Small policies for tests: an ONNX file, written byte by byte, and its policy.toml.

use crate::JOINTS;
use std::path::Path;

/// Steps in a chunk.
const CHUNK: usize = 8;
const DOF: usize = JOINTS.len();

/// What a test policy does with the joint positions that it is given.
#[derive(Debug, Clone, Copy)]
pub enum Network {
    /// Sends all joints to these angles, rad.
    GoTo([f64; 6]),
    /// Turns the first joint on and on; once it is past this angle, rad, the network's output is not
    /// a number.
    Diverges(f64),
    /// Gives goals for five joints only.
    FiveJoints,
}

/// Writes a policy directory with `model.onnx` and `policy.toml`.
///
/// # Panics
/// When the folder cannot be written.
pub fn write_policy(folder: &Path, name: &str, network: Network) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join("model.onnx"), onnx(network)).expect("the model is written");
    let joints = JOINTS.map(|joint| format!("\"{joint}\"")).join(", ");
    let manifest = format!(
        "name = \"{name}\"\ndescription = \"made by a test\"\nrobot = \"so101\"\nrate_hz = 30.0\n\
         chunk_size = {CHUNK}\nn_action_steps = {CHUNK}\n\n[model]\nfile = \"model.onnx\"\n\n\
         [[input]]\ntensor = \"x\"\nkind = \"joint_positions\"\njoints = [{joints}]\nunits = \"rad\"\n\n\
         [[output]]\ntensor = \"y\"\nkind = \"joint_targets\"\njoints = [{joints}]\nunits = \"rad\"\n"
    );
    std::fs::write(folder.join("policy.toml"), manifest).expect("the manifest is written");
}

/// y = gain·x + goals + 0·√(bound − x): not a number as soon as one x is above its bound.
fn onnx(network: Network) -> Vec<u8> {
    let everywhere = 1e3;
    let (gain, goal, bound, width) = match network {
        Network::GoTo(goal) => (0.0, goal, [everywhere; DOF], DOF),
        Network::Diverges(angle) => (
            1.0,
            [0.05, 0.0, 0.0, 0.0, 0.0, 0.0],
            std::array::from_fn(|i| if i == 0 { angle } else { everywhere }),
            DOF,
        ),
        Network::FiveJoints => (0.0, [0.0; DOF], [everywhere; DOF], DOF - 1),
    };
    // A chunk of steps, each a little farther on, so that the arm moves while it is played.
    let steps = (1..=CHUNK).flat_map(|step| {
        goal.map(|g| if gain == 0.0 { g } else { g * step as f64 })[..width].to_vec()
    });
    let mut graph = Vec::new();
    let input = if width == DOF {
        "x".to_owned()
    } else {
        "x5".to_owned()
    };
    let mut nodes: Vec<(&str, Vec<&str>, &str)> = Vec::new();
    if width != DOF {
        nodes.push(("MatMul", vec!["x", "narrow"], "x5"));
    }
    nodes.push(("Sub", vec!["bound", &input], "left"));
    nodes.push(("Sqrt", vec!["left"], "root"));
    nodes.push(("Mul", vec!["root", "zero"], "guard"));
    nodes.push(("Mul", vec![&input, "gain"], "scaled"));
    nodes.push(("Add", vec!["scaled", "guard"], "guarded"));
    nodes.push(("Add", vec!["guarded", "goal"], "y"));
    for (operator, inputs, output) in nodes {
        let mut node = Vec::new();
        inputs
            .iter()
            .for_each(|name| bytes(&mut node, 1, name.as_bytes()));
        bytes(&mut node, 2, output.as_bytes());
        bytes(&mut node, 4, operator.as_bytes());
        bytes(&mut graph, 1, &node);
    }
    bytes(&mut graph, 2, b"test");
    let mut constant = |name: &str, shape: &[usize], values: &[f64]| {
        bytes(&mut graph, 5, &tensor(name, shape, values))
    };
    constant("bound", &[width], &bound[..width]);
    constant("zero", &[1], &[0.0]);
    constant("gain", &[1], &[gain]);
    constant("goal", &[1, CHUNK, width], &steps.collect::<Vec<f64>>());
    if width != DOF {
        let narrow: Vec<f64> = (0..DOF * width)
            .map(|i| f64::from(u8::from(i / width == i % width)))
            .collect();
        constant("narrow", &[DOF, width], &narrow);
    }
    bytes(&mut graph, 11, &value("x", &[1, DOF]));
    bytes(&mut graph, 12, &value("y", &[1, CHUNK, width]));
    let mut model = Vec::new();
    number(&mut model, 1, 8);
    bytes(&mut model, 7, &graph);
    let mut operators = Vec::new();
    number(&mut operators, 2, 13);
    bytes(&mut model, 8, &operators);
    model
}

fn tensor(name: &str, shape: &[usize], values: &[f64]) -> Vec<u8> {
    let mut out = Vec::new();
    shape
        .iter()
        .for_each(|&size| number(&mut out, 1, size as u64));
    number(&mut out, 2, 1);
    bytes(&mut out, 8, name.as_bytes());
    let raw: Vec<u8> = values
        .iter()
        .flat_map(|&v| (v as f32).to_le_bytes())
        .collect();
    bytes(&mut out, 9, &raw);
    out
}

fn value(name: &str, shape: &[usize]) -> Vec<u8> {
    let mut axes = Vec::new();
    for &size in shape {
        let mut axis = Vec::new();
        number(&mut axis, 1, size as u64);
        bytes(&mut axes, 1, &axis);
    }
    let (mut kind, mut ty, mut out) = (Vec::new(), Vec::new(), Vec::new());
    number(&mut kind, 1, 1);
    bytes(&mut kind, 2, &axes);
    bytes(&mut ty, 1, &kind);
    bytes(&mut out, 1, name.as_bytes());
    bytes(&mut out, 2, &ty);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, contents: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, contents.len() as u64);
    out.extend_from_slice(contents);
}
