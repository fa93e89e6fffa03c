//! `sinew eval` with the demo's policy: results depend on seeds and options alone, each strategy works,
//! and wrong requests are refused with what is right.

use serde_json::Value;
use sinew_tests::{Outcome, Running};

fn eval(options: &[&str]) -> Outcome {
    let policy = ["eval", "so101-pick", "--policy", "policies/demo/so101-pick"];
    Running::to_end(&[&policy[..], options].concat())
}

/// The report, without what depends on the machine.
fn report(options: &[&str]) -> Value {
    let outcome = eval(&[options, &["--json"]].concat());
    outcome.succeeded();
    let mut report = outcome.json();
    report.as_object_mut().unwrap().remove("run").unwrap();
    report
}

#[test]
fn the_same_seeds_give_the_same_bits_whatever_the_workers() {
    let options = ["--seeds", "300..306", "--engine", "rten"];
    let alone = report(&[&options[..], &["--workers", "1"]].concat());
    for workers in ["2", "5"] {
        let many = report(&[&options[..], &["--workers", workers]].concat());
        assert_eq!(alone, many, "{workers} workers");
    }
    let named = report(&["--seed", "300", "--episodes", "6", "--engine", "rten"]);
    assert_eq!(alone, named);
    let results = alone["results"].as_array().unwrap();
    let seeds: Vec<u64> = results
        .iter()
        .map(|r| r["seed"].as_u64().unwrap())
        .collect();
    assert_eq!(seeds, [300, 301, 302, 303, 304, 305]);
    assert!(alone["successes"].as_u64().unwrap() >= 5, "{alone}");
    let [low, high] = [0, 1].map(|i| alone["interval_95"][i].as_f64().unwrap());
    let rate = alone["success_rate"].as_f64().unwrap();
    assert!(low < rate && rate <= high && high <= 1.0 && low > 0.3);
    assert_eq!(alone["strategy"]["name"], "async");
}

#[test]
fn every_strategy_solves_the_task_and_counts_what_it_did() {
    for strategy in [
        &["--strategy", "sync"][..],
        &["--strategy", "async", "--blend", "latest_only"],
        &["--strategy", "async", "--refill", "0.75"],
        &["--strategy", "ensemble", "--ensemble-coeff", "-0.1"],
    ] {
        let delayed = ["--episodes", "4", "--latency-ms", "60"];
        let report = report(&[strategy, &delayed].concat());
        assert!(report["successes"].as_u64().unwrap() >= 3, "{report}");
        for result in report["results"].as_array().unwrap() {
            let count = |name: &str| result["actions"][name].as_u64().unwrap();
            let steps = result["steps"].as_u64().unwrap();
            // The first chunk takes two steps; after that each step acts, holds or starves.
            assert_eq!(
                count("executed") + count("held") + count("starved") + 2,
                steps
            );
            let sync = strategy[1] == "sync";
            assert_eq!((count("held") > 0, count("expired") > 0), (sync, !sync));
            assert_eq!((count("starved"), count("overruns")), (0, 0), "{result}");
        }
    }
}

#[test]
fn an_inference_that_is_too_slow_is_told() {
    let slow = [
        "--strategy",
        "async",
        "--refill",
        "0.2",
        "--latency-ms",
        "200",
    ];
    let report = report(&[&slow[..], &["--episodes", "1"]].concat());
    let actions = &report["results"][0]["actions"];
    assert!(actions["starved"].as_u64().unwrap() > 0, "{report}");
    assert!(actions["overruns"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn people_are_told_in_a_few_lines() {
    let outcome = eval(&["--episodes", "2"]);
    outcome.succeeded();
    for words in [
        "so101-pick: so101-pick on",
        "of 2 succeeded",
        "95 % interval",
        "at a time",
    ] {
        assert!(outcome.stdout.contains(words), "{}", outcome.stdout);
    }
}

#[test]
fn wrong_requests_are_refused_with_what_is_right() {
    for (options, words) in [
        (
            &["--strategy", "sync", "--refill", "0.5"][..],
            "means nothing to strategy sync",
        ),
        (
            &["--strategy", "ensemble", "--n-action-steps", "4"],
            "strategy ensemble",
        ),
        (&["--n-action-steps", "17"], "1 to 16"),
        (&["--refill", "1.5"], "from 0 to 1"),
        (
            &["--strategy", "ensemble", "--ensemble-coeff", "nan"],
            "0.01 is ACT's",
        ),
        (&["--latency-ms", "-1"], "0 to 60000 ms"),
        (&["--episode-time", "0"], "0.1 to 3600 s"),
        (&["--workers", "0"], "1 or more"),
        (&["--episodes", "0"], "0 episodes"),
    ] {
        eval(options).failed(2, &[words]);
    }
    for (options, words) in [
        (&["--seeds", "9..9"][..], "FROM..TO"),
        (&["--strategy", "fast"], "sync, async or ensemble"),
        (&["--blend", "newest"], "latest_only"),
        (&["--camera-size", "128"], "128x96"),
        (
            &["--refill", "0.5", "--n-action-steps", "4"],
            "cannot be used with",
        ),
    ] {
        let outcome = eval(options);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    let task = Running::to_end(&["eval", "go2-walk", "--policy", "policies/demo/so101-pick"]);
    task.failed(2, &["so101-pick"]);
    let missing = Running::to_end(&["eval", "so101-pick", "--policy", "no/such/folder"]);
    missing.failed(2, &["no/such/folder"]);
}
