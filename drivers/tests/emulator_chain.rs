//! What a chain of emulated servos answers, byte for byte, without a port.

use proptest::prelude::*;
use sinew_drivers::emulator::{
    EmulatedChain, InertialPlant, Plant, Reply, ServoConfig, ServoDrive, ServoMeasurement,
    SharedChain,
};
use sinew_drivers::feetech::packet::{
    BROADCAST, INST_ACTION, INST_PING, INST_READ, INST_REG_WRITE, INST_RESET, INST_SYNC_READ,
    INST_SYNC_WRITE, INST_WRITE, MAX_PACKET, Parsed, Parser, encode,
};
use sinew_drivers::feetech::registers as reg;
use std::time::Duration;

const BAUD: u32 = 1_000_000;
const NOTHING: [u8; 0] = [];

fn packet(id: u8, code: u8, params: &[u8]) -> Vec<u8> {
    let mut buf = [0; MAX_PACKET];
    let len = encode(&mut buf, id, code, params).unwrap();
    buf[..len].to_vec()
}

/// Sends a request and returns all reply bytes.
fn ask(chain: &mut EmulatedChain, id: u8, code: u8, params: &[u8]) -> Vec<u8> {
    send(chain, &packet(id, code, params), BAUD)
}

fn send(chain: &mut EmulatedChain, bytes: &[u8], baud: u32) -> Vec<u8> {
    chain.receive(bytes);
    let (mut reply, mut out) = (Reply::default(), Vec::new());
    while chain.next_reply(baud, &mut reply) {
        out.extend_from_slice(&reply.bytes);
    }
    out
}

/// Good status packets in `bytes`: id, alarms, data.
fn statuses(bytes: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
    let mut parser = Parser::new();
    parser.push(bytes);
    let mut out = Vec::new();
    loop {
        match parser.next_packet(|_, _| true) {
            Some(Parsed::Packet(p)) => {
                out.push((p.id, p.code, p.params.to_vec()));
                continue;
            }
            Some(Parsed::Corrupt { .. }) => continue,
            None => {}
        }
        if !parser.abandon() {
            return out;
        }
    }
}

fn fault(chain: &EmulatedChain, text: &str) {
    chain.faults().inject(text.parse().unwrap());
}

#[test]
fn ping_is_answered_as_in_the_manual() {
    let mut chain = EmulatedChain::so101();
    assert_eq!(
        ask(&mut chain, 1, INST_PING, &[]),
        [0xFF, 0xFF, 0x01, 0x02, 0x00, 0xFC]
    );
    assert_eq!(ask(&mut chain, 7, INST_PING, &[]), NOTHING);
}

#[test]
fn broadcast_ping_is_answered_by_all_in_turn() {
    let mut chain = EmulatedChain::so101();
    let ids: Vec<_> = statuses(&ask(&mut chain, BROADCAST, INST_PING, &[]))
        .iter()
        .map(|s| s.0)
        .collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn read_gives_the_table_and_zeros_behind_it() {
    let mut chain = EmulatedChain::so101();
    let model = ask(&mut chain, 2, INST_READ, &[3, 2]);
    assert_eq!(model, [0xFF, 0xFF, 2, 4, 0, 9, 3, 0xED]);
    let all = statuses(&ask(&mut chain, 2, INST_READ, &[0, 100]));
    assert_eq!(all[0].2.len(), 100);
    assert_eq!(all[0].2[reg::TABLE_BYTES..], [0; 100 - reg::TABLE_BYTES]);
    for params in [&[][..], &[3], &[3, 2, 1], &[3, 0], &[3, 245]] {
        assert_eq!(ask(&mut chain, 2, INST_READ, params), NOTHING, "{params:?}");
    }
    assert_eq!(ask(&mut chain, BROADCAST, INST_READ, &[3, 2]), NOTHING);
}

#[test]
fn write_is_acknowledged_unless_told_not_to_be() {
    let mut chain = EmulatedChain::so101();
    assert_eq!(
        statuses(&ask(&mut chain, 1, INST_WRITE, &[41, 50])),
        [(1, 0, vec![])]
    );
    assert_eq!(chain.servo(1).unwrap().get(&reg::ACCELERATION), 50);
    ask(&mut chain, 1, INST_WRITE, &[8, 0]);
    assert_eq!(ask(&mut chain, 1, INST_WRITE, &[41, 60]), NOTHING);
    assert_eq!(chain.servo(1).unwrap().get(&reg::ACCELERATION), 60);
    assert_eq!(
        statuses(&ask(&mut chain, 1, INST_READ, &[41, 1])),
        [(1, 0, vec![60])]
    );
    assert_eq!(ask(&mut chain, BROADCAST, INST_WRITE, &[41, 70]), NOTHING);
    assert!(
        chain
            .servos()
            .iter()
            .all(|s| s.get(&reg::ACCELERATION) == 70)
    );
}

#[test]
fn reg_write_waits_for_action() {
    let mut chain = EmulatedChain::so101();
    for id in [1, 2] {
        assert_eq!(
            statuses(&ask(&mut chain, id, INST_REG_WRITE, &[42, 0, 4])).len(),
            1
        );
        assert_eq!(chain.servo(id).unwrap().get(&reg::GOAL_POSITION), 2048);
    }
    assert_eq!(ask(&mut chain, BROADCAST, INST_ACTION, &[]), NOTHING);
    assert_eq!(chain.servo(1).unwrap().get(&reg::GOAL_POSITION), 1024);
    assert_eq!(chain.servo(2).unwrap().get(&reg::GOAL_POSITION), 1024);
    ask(&mut chain, 1, INST_WRITE, &[42, 0, 8]);
    ask(&mut chain, 1, INST_ACTION, &[]);
    assert_eq!(
        chain.servo(1).unwrap().get(&reg::GOAL_POSITION),
        2048,
        "an action acts once"
    );
}

#[test]
fn reset_restores_factory_values_but_the_id() {
    let mut chain = EmulatedChain::so101();
    ask(&mut chain, 3, INST_WRITE, &[55, 0]);
    ask(&mut chain, 3, INST_WRITE, &[21, 16]);
    assert_eq!(
        statuses(&ask(&mut chain, 3, INST_RESET, &[])),
        [(3, 0, vec![])]
    );
    assert_eq!(chain.servo(3).unwrap().get(&reg::P_COEFFICIENT), 32);
}

#[test]
fn sync_read_answers_in_list_order_and_leaves_gaps() {
    let mut chain = EmulatedChain::so101();
    chain.receive(&packet(BROADCAST, INST_SYNC_READ, &[56, 2, 3, 9, 1]));
    let mut reply = Reply::default();
    assert!(chain.next_reply(BAUD, &mut reply));
    let ids: Vec<_> = statuses(&reply.bytes).iter().map(|s| s.0).collect();
    assert_eq!(ids, [3, 1]);
    assert_eq!(
        reply.parts.iter().map(|p| p.end).collect::<Vec<_>>(),
        [8, 8, 16]
    );
    assert!(reply.parts.iter().all(|p| p.slot_bytes == 8));
    assert_eq!(reply.parts[0].return_delay, Duration::from_micros(500));
    assert_eq!(
        ask(&mut chain, 1, INST_SYNC_READ, &[56, 2, 1]),
        NOTHING,
        "only as a broadcast"
    );
    assert_eq!(ask(&mut chain, BROADCAST, INST_SYNC_READ, &[56]), NOTHING);
}

#[test]
fn sync_write_reaches_each_servo_and_nobody_answers() {
    let mut chain = EmulatedChain::so101();
    let written = ask(
        &mut chain,
        BROADCAST,
        INST_SYNC_WRITE,
        &[42, 2, 1, 0, 4, 9, 1, 1, 6, 0, 12, 5, 7],
    );
    assert_eq!(written, NOTHING);
    assert_eq!(chain.servo(1).unwrap().get(&reg::GOAL_POSITION), 1024);
    assert_eq!(chain.servo(6).unwrap().get(&reg::GOAL_POSITION), 3072);
    assert_eq!(
        chain.servo(5).unwrap().get(&reg::GOAL_POSITION),
        2048,
        "an unfinished entry is ignored"
    );
}

#[test]
fn a_new_id_is_acknowledged_under_the_old_one() {
    let mut chain = EmulatedChain::so101();
    assert_eq!(statuses(&ask(&mut chain, 6, INST_WRITE, &[5, 20]))[0].0, 6);
    assert_eq!(ask(&mut chain, 6, INST_PING, &[]), NOTHING);
    assert_eq!(statuses(&ask(&mut chain, 20, INST_PING, &[]))[0].0, 20);
}

#[test]
fn servos_hear_only_their_own_baud_rate() {
    let mut chain = EmulatedChain::so101();
    assert_eq!(statuses(&ask(&mut chain, 2, INST_WRITE, &[6, 4])).len(), 1);
    assert_eq!(ask(&mut chain, 2, INST_PING, &[]), NOTHING);
    assert_eq!(
        statuses(&send(&mut chain, &packet(2, INST_PING, &[]), 115_200)).len(),
        1
    );
    let ids = statuses(&send(
        &mut chain,
        &packet(BROADCAST, INST_PING, &[]),
        115_200,
    ));
    assert_eq!(ids.len(), 1);
}

#[test]
fn requests_arrive_in_pieces_and_in_heaps() {
    let mut chain = EmulatedChain::so101();
    let ping = packet(4, INST_PING, &[]);
    for byte in &ping[..5] {
        assert_eq!(send(&mut chain, &[*byte], BAUD), NOTHING);
    }
    assert_eq!(chain.pending(), 5);
    assert_eq!(statuses(&send(&mut chain, &ping[5..], BAUD)).len(), 1);
    assert_eq!(
        statuses(&send(&mut chain, &ping.repeat(20), BAUD)).len(),
        20
    );
    send(&mut chain, &ping[..5], BAUD);
    chain.line_idle();
    assert_eq!(
        statuses(&send(&mut chain, &ping, BAUD)).len(),
        1,
        "silence ends a request"
    );
}

#[test]
fn a_wrong_checksum_is_not_obeyed() {
    let mut chain = EmulatedChain::so101();
    let mut write = packet(1, INST_WRITE, &[41, 99]);
    let last = write.len() - 1;
    write[last] ^= 1;
    assert_eq!(send(&mut chain, &write, BAUD), NOTHING);
    assert_eq!(chain.servo(1).unwrap().get(&reg::ACCELERATION), 0);
}

#[test]
fn ids_must_differ_and_exist() {
    for ids in [[1, 1], [1, 253]] {
        let configs: Vec<_> = ids.iter().map(|id| ServoConfig::new(*id)).collect();
        let message = EmulatedChain::new(&configs).unwrap_err().to_string();
        assert!(message.contains("give each servo its own id"), "{message}");
    }
}

#[test]
fn silent_servo_obeys_but_does_not_answer() {
    let mut chain = EmulatedChain::so101();
    fault(&chain, "silent:3");
    assert_eq!(ask(&mut chain, 3, INST_WRITE, &[41, 9]), NOTHING);
    assert_eq!(chain.servo(3).unwrap().get(&reg::ACCELERATION), 9);
    let sync = [&[56, 2], &[1u8, 2, 3, 4, 5, 6][..]].concat();
    assert_eq!(
        statuses(&ask(&mut chain, BROADCAST, INST_SYNC_READ, &sync)).len(),
        5
    );
}

#[test]
fn a_second_servo_with_the_same_id_garbles_the_reply() {
    let mut chain = EmulatedChain::so101();
    fault(&chain, "duplicate:2");
    for params in [&[56, 2][..], &[0, 80]] {
        let bytes = ask(&mut chain, 2, INST_READ, params);
        assert!(
            !bytes.is_empty() && statuses(&bytes).is_empty(),
            "{bytes:?}"
        );
    }
    assert_eq!(statuses(&ask(&mut chain, 1, INST_PING, &[])).len(), 1);
    chain.faults().clear();
    assert_eq!(statuses(&ask(&mut chain, 2, INST_PING, &[])).len(), 1);
}

#[test]
fn damaged_replies_are_damaged_as_asked() {
    let mut chain = EmulatedChain::so101();
    let good = ask(&mut chain, 1, INST_READ, &[0, 20]);
    for (text, longer) in [("truncate:1", -1), ("checksum:1", 0), ("double:1", 1)] {
        fault(&chain, text);
        let bad = ask(&mut chain, 1, INST_READ, &[0, 20]);
        assert_eq!(
            (bad.len() as i64 - good.len() as i64).signum(),
            longer,
            "{text}"
        );
        assert_ne!(bad, good, "{text}");
        chain.faults().clear();
    }
}

#[test]
fn noise_damages_about_as_many_bytes_as_asked() {
    let mut chain = EmulatedChain::so101();
    fault(&chain, "noise:0.02");
    let mut gets_through = || {
        let good = statuses(&ask(&mut chain, 1, INST_READ, &[56, 2])).len() == 1;
        chain.line_idle();
        good
    };
    let good = (0..1000).filter(|_| gets_through()).count();
    // A request and its reply are 16 bytes: 0.98^16 = 0.72 of them get through.
    assert!((650..800).contains(&good), "{good}");
}

#[test]
fn alarms_are_in_every_reply_and_in_the_status_register() {
    let mut chain = EmulatedChain::so101();
    fault(&chain, "overload:6");
    assert_eq!(
        statuses(&ask(&mut chain, 6, INST_READ, &[65, 1])),
        [(6, 32, vec![32])]
    );
    assert_eq!(statuses(&ask(&mut chain, 5, INST_PING, &[]))[0].1, 0);
    chain.faults().clear();
    assert_eq!(statuses(&ask(&mut chain, 6, INST_PING, &[]))[0].1, 0);
}

#[test]
fn delays_are_told_to_who_sends() {
    let mut chain = EmulatedChain::so101();
    fault(&chain, "delay:4=5ms");
    chain.receive(&packet(4, INST_PING, &[]));
    let mut reply = Reply::default();
    assert!(chain.next_reply(BAUD, &mut reply));
    assert_eq!(reply.parts[0].fault_delay, Duration::from_millis(5));
}

/// A plant that finds the chain unlocked while it works.
struct Prober(SharedChain);

impl Plant for Prober {
    fn step(&mut self, _: f64, drives: &[ServoDrive], measured: &mut [ServoMeasurement]) {
        assert_eq!(self.0.lock().servos().len(), drives.len());
        for (drive, measured) in drives.iter().zip(measured) {
            measured.position_ticks = drive.setpoint_ticks + 1.0;
        }
    }
}

#[test]
fn the_world_is_stepped_from_outside_with_the_chain_unlocked() {
    let chain = SharedChain::new(EmulatedChain::so101());
    chain.step(0.001, &mut Prober(chain.clone()));
    assert_eq!(
        chain.lock().servo(1).unwrap().get(&reg::PRESENT_POSITION),
        2049
    );
    chain.step(f64::NAN, &mut Prober(chain.clone()));
    chain.step(-1.0, &mut Prober(chain.clone()));
    assert_eq!(
        chain.lock().servo(1).unwrap().get(&reg::PRESENT_POSITION),
        2049
    );
}

#[test]
fn the_same_requests_and_steps_give_the_same_bytes() {
    let run = || {
        let shared = SharedChain::new(EmulatedChain::so101());
        shared.faults().inject("noise:0.01".parse().unwrap());
        let mut plant = InertialPlant::new();
        let mut out = Vec::new();
        for i in 0..500u16 {
            let goal = (2048 + i).to_le_bytes();
            let mut chain = shared.lock();
            out.extend(ask(&mut chain, 1, INST_WRITE, &[40, 1]));
            out.extend(ask(&mut chain, 1, INST_WRITE, &[42, goal[0], goal[1]]));
            out.extend(ask(&mut chain, 1, INST_READ, &[56, 15]));
            drop(chain);
            shared.step(0.002, &mut plant);
        }
        out
    };
    assert_eq!(run(), run());
}

proptest! {
    /// Whatever came before, a client that keeps asking gets an answer: at the latest when more
    /// bytes went by than the longest request has.
    #[test]
    fn any_bytes_leave_a_chain_that_answers(
        garbage in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xFFu8), 0u8..9], 0..600),
        cut in 1usize..50,
    ) {
        let mut chain = EmulatedChain::so101();
        for piece in garbage.chunks(cut) {
            send(&mut chain, piece, BAUD);
        }
        // The garbage may have been a valid write of another id or baud rate: any servo, any rate.
        let mut answered = false;
        for _ in 0..64 {
            for (baud, _) in reg::BAUD_CODES {
                answered |= !send(&mut chain, &packet(BROADCAST, INST_PING, &[]), baud).is_empty();
            }
        }
        prop_assert!(answered);
    }

    #[test]
    fn any_instruction_leaves_a_chain_that_answers(
        requests in prop::collection::vec((prop_oneof![0u8..8, Just(BROADCAST)], prop_oneof![0u8..9, Just(0x82), Just(0x83), any::<u8>()], prop::collection::vec(any::<u8>(), 0..60)), 0..30),
    ) {
        let mut chain = EmulatedChain::so101();
        for (id, code, params) in &requests {
            ask(&mut chain, *id, *code, params);
        }
        let answered = reg::BAUD_CODES.iter().map(|(baud, _)| {
            statuses(&send(&mut chain, &packet(BROADCAST, INST_PING, &[]), *baud)).len()
        });
        prop_assert!(answered.sum::<usize>() >= 1);
    }
}
