//! `sinew doctor`: what is installed, what is missing, what to type.

use crate::args::Doctor;
use crate::native;
use anyhow::Result;
use serde::Serialize;
use sinew_runtime::rt::{self, RtRequest};
use std::path::{Path, PathBuf};

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    found: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    remedy: &'static str,
}

fn finding(what: &'static str, found: Result<String, String>, remedy: &'static str) -> Finding {
    let ok = found.is_ok();
    let found = found.unwrap_or_else(|problem| problem);
    Finding {
        what,
        ok,
        found,
        remedy: if ok { "" } else { remedy },
    }
}

/// Runs the command.
pub(crate) fn doctor(args: &Doctor) -> Result<()> {
    let findings = [
        real_time(),
        serial_ports(),
        physics(),
        rendering(),
        video(),
        inference(),
        models(),
    ];
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
        return Ok(());
    }
    for finding in &findings {
        println!(
            "{} {:<12} {}",
            if finding.ok { "ok     " } else { "missing" },
            finding.what,
            finding.found
        );
        if !finding.remedy.is_empty() {
            println!("                     → {}", finding.remedy);
        }
    }
    Ok(())
}

fn real_time() -> Finding {
    // On a thread of its own: the settings end with it.
    let report = std::thread::Builder::new()
        .name("doctor".into())
        .spawn(|| rt::apply(&RtRequest::DEVICE).0);
    let report = report
        .map_err(|e| e.to_string())
        .and_then(|t| t.join().map_err(|_| "the check panicked".to_owned()));
    let found = report.and_then(|r| {
        if r.is_complete() {
            Ok(r.to_string())
        } else {
            Err(r.to_string())
        }
    });
    finding(
        "real time",
        found,
        "loops run without it, less evenly; allow it with `ulimit -r 90 -l unlimited` or in /etc/security/limits.d (rtprio, memlock)",
    )
}

fn serial_ports() -> Finding {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut ports: Vec<String> = entries
        .filter(|e| {
            ["ttyACM", "ttyUSB", "ttyAMA"]
                .iter()
                .any(|p| e.file_name().to_string_lossy().starts_with(p))
        })
        .map(|e| e.path().display().to_string())
        .collect();
    ports.sort();
    let found = if ports.is_empty() {
        Err("no servo adapter is plugged in".to_owned())
    } else {
        Ok(ports.join(", "))
    };
    finding(
        "serial port",
        found,
        "plug the robot in; simulation (`sinew sim so101-pick`) needs none",
    )
}

#[cfg(feature = "sim")]
fn physics() -> Finding {
    finding("MuJoCo", Ok(sinew_sim::mujoco_version()), "")
}

#[cfg(feature = "sim")]
fn rendering() -> Finding {
    let found = sinew_sim::pick::scene::Scene::load()
        .map_err(|e| e.to_string())
        .and_then(|(model, _)| {
            sinew_sim::Renderer::new(&model, sinew_sim::RenderOptions::default())
                .map_err(|e| e.to_string())
        })
        .map(|renderer| renderer.device());
    finding(
        "rendering",
        found,
        "apt-get install libegl1 libgl1-mesa-dri",
    )
}

#[cfg(not(feature = "sim"))]
fn physics() -> Finding {
    finding(
        "MuJoCo",
        Err("built without simulation".to_owned()),
        "cargo build -p sinew --features sim",
    )
}

#[cfg(not(feature = "sim"))]
fn rendering() -> Finding {
    finding(
        "rendering",
        Err("built without simulation".to_owned()),
        "cargo build -p sinew --features sim",
    )
}

fn video() -> Finding {
    let encoder = |codec| sinew_datasets::video::pick_encoder(codec).map(|e| e.to_string());
    let h264 = encoder(sinew_datasets::Codec::H264);
    let av1 = encoder(sinew_datasets::Codec::Av1);
    let found = match (h264, av1) {
        (Err(problem), Err(_)) => Err(problem.to_string()),
        (h264, av1) => {
            let name = |e: Result<String, _>| e.unwrap_or_else(|_| "none".to_owned());
            Ok(format!("H.264: {}, AV1: {}", name(h264), name(av1)))
        }
    };
    finding(
        "video",
        found,
        "apt-get install gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly",
    )
}

fn inference() -> Finding {
    let found = match sinew_policies::engines::ort::find_library() {
        Ok(path) => format!("RTen (built in), ONNX Runtime at {}", path.display()),
        Err(_) => "RTen (built in); ONNX Runtime not found, `scripts/setup` brings it".to_owned(),
    };
    finding("inference", Ok(found), "")
}

fn models() -> Finding {
    let has = |folder: &PathBuf, what: &str| Path::new(folder).join("models").join(what).exists();
    let found = match native::third_party() {
        Some(folder) if has(&folder, "go2/go2.xml") => {
            Ok(format!("Unitree Go2 in {}", folder.display()))
        }
        _ => Err("the Go2 model and its policy are not here".to_owned()),
    };
    finding("models", found, "run scripts/setup in the checkout")
}
