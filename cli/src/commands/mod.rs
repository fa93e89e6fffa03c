//! One file a verb.

mod bench;
pub(crate) mod dataset;
pub(crate) mod dataset_edit;
mod demo;
#[cfg(all(feature = "sim", feature = "hub"))]
mod demo_hub;
mod doctor;
mod eval;
#[cfg(feature = "hub")]
mod hub;
pub(crate) mod policy;
mod record;
#[cfg(feature = "sim")]
mod record_lockstep;
#[cfg(feature = "sim")]
mod record_take_over;
mod replay;
mod run;
mod sim;
mod teleop;
#[cfg(feature = "sim")]
mod walk;

use crate::args::Command;

/// Runs a command to its end.
pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    if matches!(
        command,
        Command::Dataset(_) | Command::Doctor(_) | Command::Policy(_) | Command::Eval(_)
    ) {
        crate::pipe::end_with_reader();
    }
    match command {
        Command::Demo(args) => demo::demo(&args),
        Command::Sim(args) => sim::sim(&args),
        Command::Teleop(args) => teleop::teleop(&args),
        Command::Record(args) => record::record(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Run(args) => run::run(&args),
        Command::Eval(args) => eval::eval(&args),
        Command::Dataset(args) => dataset::dataset(&args),
        Command::Policy(args) => policy::policy(args),
        #[cfg(feature = "hub")]
        Command::Hub(args) => hub::hub(&args),
        Command::Bench(args) => bench::bench(&args.what),
        Command::Doctor(args) => doctor::doctor(&args),
    }
}
