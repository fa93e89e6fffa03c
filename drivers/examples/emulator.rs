//! An emulated SO-101 bus for anything that speaks to STS3215 servos.
//!
//! ```text
//! cargo run -p sinew-drivers --example emulator -- --servos 6 --wire --link /tmp/arm --fault silent:3
//! ```
//!
//! Prints the port's path and serves until standard input closes (or the process is ended).
//! Lines typed meanwhile switch faults: `silent:3` on, `-silent:3` off, `clear`, `list`.

use sinew_drivers::emulator::{
    EmulatedChain, EmulatorError, Fault, InertialPlant, PlantThread, PtyOptions, PtyServer,
    ServoConfig, SharedChain,
};
use sinew_drivers::feetech::registers::RETURN_DELAY_TIME;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: emulator [--servos N] [--wire] [--no-delay] [--link PATH] [--store PATH] [--fault FAULT]...";

struct Args {
    servos: u8,
    no_delay: bool,
    options: PtyOptions,
    faults: Vec<Fault>,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut out = Args {
        servos: 6,
        no_delay: false,
        options: PtyOptions::default(),
        faults: Vec::new(),
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value; {USAGE}"));
        match arg.as_str() {
            "--servos" => {
                let n: Option<u8> = value()?.parse().ok().filter(|n| (1..=200).contains(n));
                out.servos = n.ok_or("--servos takes a number from 1 to 200")?;
            }
            "--wire" => out.options.wire_timing = true,
            "--no-delay" => out.no_delay = true,
            "--link" => out.options.link = Some(PathBuf::from(value()?)),
            "--store" => out.options.store = Some(PathBuf::from(value()?)),
            "--fault" => out
                .faults
                .push(value()?.parse().map_err(|e: EmulatorError| e.to_string())?),
            other => return Err(format!("unknown argument {other:?}; {USAGE}")),
        }
    }
    Ok(out)
}

fn chain(args: &Args) -> Result<EmulatedChain, EmulatorError> {
    let config = |id| {
        let mut config = ServoConfig::new(id);
        if args.no_delay {
            config.eeprom.push((RETURN_DELAY_TIME, 0));
        }
        config
    };
    let configs: Vec<_> = (1..=args.servos).map(config).collect();
    match &args.options.store {
        Some(path) => EmulatedChain::with_store(&configs, path),
        None => EmulatedChain::new(&configs),
    }
}

fn run(args: &Args) -> Result<(), EmulatorError> {
    let chain = SharedChain::new(chain(args)?);
    let faults = chain.faults();
    args.faults.iter().for_each(|fault| faults.inject(*fault));
    let _plant = PlantThread::start(
        chain.clone(),
        InertialPlant::new(),
        Duration::from_millis(1),
    )?;
    let server = PtyServer::start(chain, &args.options)?;
    println!("{}", server.path().display());
    // A closed standard output means only that nobody reads the path.
    let _ = std::io::stdout().flush();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.trim() {
            "" => {}
            "clear" => faults.clear(),
            "list" => faults.list().iter().for_each(|fault| println!("{fault}")),
            text => {
                let (off, text) = text
                    .strip_prefix('-')
                    .map_or((false, text), |text| (true, text));
                match text.parse() {
                    Ok(fault) if off => faults.remove(&fault),
                    Ok(fault) => faults.inject(fault),
                    Err(error) => eprintln!("{error}"),
                }
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let outcome =
        parse(std::env::args().skip(1)).and_then(|args| run(&args).map_err(|e| e.to_string()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
