//! The emulator behind its pseudo-terminal, as clients find it.

use serialport::SerialPort;
use sinew_drivers::emulator::{
    EmulatedChain, EmulatorError, InertialPlant, PlantThread, PtyOptions, PtyServer, ServoConfig,
    SharedChain,
};
use sinew_drivers::feetech::packet::{
    BROADCAST, INST_PING, INST_READ, INST_SYNC_READ, INST_SYNC_WRITE, INST_WRITE, MAX_PACKET,
    encode,
};
use sinew_drivers::feetech::registers as reg;
use std::path::Path;
use std::time::{Duration, Instant};

fn packet(id: u8, code: u8, params: &[u8]) -> Vec<u8> {
    let mut buf = [0; MAX_PACKET];
    let len = encode(&mut buf, id, code, params).unwrap();
    buf[..len].to_vec()
}

fn open(path: &Path, baud: u32) -> Box<dyn SerialPort> {
    let name = path.to_str().unwrap();
    serialport::new(name, baud)
        .timeout(Duration::from_secs(5))
        .open()
        .unwrap()
}

fn serve(options: &PtyOptions) -> (SharedChain, PtyServer) {
    let configs: Vec<_> = (1..=6)
        .map(|id| ServoConfig {
            eeprom: vec![(reg::RETURN_DELAY_TIME, 0)],
            ..ServoConfig::new(id)
        })
        .collect();
    let chain = SharedChain::new(EmulatedChain::new(&configs).unwrap());
    let server = PtyServer::start(chain.clone(), options).unwrap();
    (chain, server)
}

fn ask(port: &mut dyn SerialPort, request: &[u8], reply: usize) -> std::io::Result<Vec<u8>> {
    port.write_all(request)?;
    let mut bytes = vec![0; reply];
    port.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// True once `done` is, false if it is not within ten seconds.
fn eventually(mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

fn sync_read() -> Vec<u8> {
    packet(BROADCAST, INST_SYNC_READ, &[56, 2, 1, 2, 3, 4, 5, 6])
}

#[test]
fn a_client_moves_a_joint_through_the_port() {
    let (chain, server) = serve(&PtyOptions::default());
    let _plant = PlantThread::start(chain, InertialPlant::new(), Duration::from_millis(1)).unwrap();
    let mut port = open(&server.path(), 1_000_000);
    ask(&mut *port, &packet(3, INST_WRITE, &[40, 1]), 6).unwrap();
    port.write_all(&packet(BROADCAST, INST_SYNC_WRITE, &[42, 2, 3, 0xD0, 7]))
        .unwrap();
    let mut position = 0;
    let arrived = eventually(|| {
        let reply = ask(&mut *port, &packet(3, INST_READ, &[56, 2]), 8).unwrap();
        position = u16::from_le_bytes([reply[5], reply[6]]);
        position.abs_diff(2000) < 3
    });
    assert!(arrived, "at {position}");
}

#[test]
fn a_sync_read_comes_back_in_one_piece() {
    let (_chain, server) = serve(&PtyOptions::default());
    let mut port = open(&server.path(), 1_000_000);
    for _ in 0..50 {
        let reply = ask(&mut *port, &sync_read(), 48).unwrap();
        assert!(
            reply
                .chunks(8)
                .enumerate()
                .all(|(i, r)| r[..5] == [255, 255, i as u8 + 1, 4, 0])
        );
    }
    assert_eq!(server.stats().bytes_out, 50 * 48);
    assert_eq!(server.stats().requests, 50);
}

#[test]
fn only_the_right_baud_rate_is_heard() {
    let (_chain, server) = serve(&PtyOptions::default());
    for baud in [115_200, 500_000, 250_000] {
        let mut port = open(&server.path(), baud);
        port.set_timeout(Duration::from_millis(50)).unwrap();
        assert!(
            ask(&mut *port, &packet(1, INST_PING, &[]), 6).is_err(),
            "{baud}"
        );
    }
    let mut port = open(&server.path(), 1_000_000);
    ask(&mut *port, &packet(1, INST_WRITE, &[6, 4]), 6).unwrap();
    port.set_baud_rate(115_200).unwrap();
    ask(&mut *port, &packet(1, INST_PING, &[]), 6).unwrap();
}

#[test]
fn a_client_that_leaves_takes_its_unread_bytes_and_its_half_request_along() {
    let (chain, server) = serve(&PtyOptions::default());
    let mut port = open(&server.path(), 1_000_000);
    port.write_all(&sync_read()).unwrap();
    assert!(eventually(|| server.stats().bytes_out == 48));
    port.write_all(&sync_read()[..7]).unwrap();
    assert!(eventually(|| server.stats().bytes_in == 14 + 7));
    drop(port);
    assert!(eventually(
        || server.stats().clients_left == 1 && chain.lock().pending() == 0
    ));
    let mut port = open(&server.path(), 1_000_000);
    assert_eq!(
        ask(&mut *port, &packet(2, INST_PING, &[]), 6).unwrap()[2],
        2
    );
}

#[test]
fn a_half_request_is_forgotten_in_silence() {
    let (chain, server) = serve(&PtyOptions::default());
    let mut port = open(&server.path(), 1_000_000);
    port.write_all(&[0xFF, 0xFF, 1, 200, 2]).unwrap();
    assert!(eventually(
        || server.stats().bytes_in == 5 && chain.lock().pending() == 0
    ));
    ask(&mut *port, &packet(1, INST_PING, &[]), 6).unwrap();
}

#[test]
fn unplugging_hangs_up_and_the_link_returns_with_the_port() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("arm");
    let (_chain, server) = serve(&PtyOptions {
        link: Some(link.clone()),
        ..PtyOptions::default()
    });
    let mut port = open(&link, 1_000_000);
    ask(&mut *port, &packet(1, INST_PING, &[]), 6).unwrap();
    server.faults().inject("unplug".parse().unwrap());
    assert!(eventually(|| !link.is_symlink()));
    let error = ask(&mut *port, &packet(1, INST_PING, &[]), 6).unwrap_err();
    assert_ne!(
        error.kind(),
        std::io::ErrorKind::TimedOut,
        "an error at once, no time-out"
    );
    server.faults().clear();
    assert!(eventually(|| link.exists()));
    ask(&mut *open(&link, 1_000_000), &packet(1, INST_PING, &[]), 6).unwrap();
    drop(server);
    assert!(!link.is_symlink());
}

#[test]
fn a_link_never_replaces_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("precious");
    std::fs::write(&link, "data").unwrap();
    let chain = SharedChain::new(EmulatedChain::so101());
    let options = PtyOptions {
        link: Some(link.clone()),
        ..PtyOptions::default()
    };
    let error = PtyServer::start(chain, &options).unwrap_err();
    assert!(matches!(error, EmulatorError::Link { .. }) && error.to_string().contains("precious"));
    assert_eq!(std::fs::read(link).unwrap(), b"data");
}

#[test]
fn settings_written_through_the_port_are_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("arm.json");
    let configs = [ServoConfig::new(1)];
    let chain = SharedChain::new(EmulatedChain::with_store(&configs, &store).unwrap());
    let server = PtyServer::start(
        chain,
        &PtyOptions {
            store: Some(store.clone()),
            ..PtyOptions::default()
        },
    )
    .unwrap();
    let mut port = open(&server.path(), 1_000_000);
    ask(&mut *port, &packet(1, INST_WRITE, &[55, 0]), 6).unwrap();
    ask(&mut *port, &packet(1, INST_WRITE, &[21, 16]), 6).unwrap();
    let kept = || {
        EmulatedChain::with_store(&configs, &store)
            .is_ok_and(|c| c.servos()[0].get(&reg::P_COEFFICIENT) == 16)
    };
    assert!(eventually(kept));
}

#[test]
fn wire_timing_is_never_faster_than_the_wire() {
    let (_chain, server) = serve(&PtyOptions {
        wire_timing: true,
        ..PtyOptions::default()
    });
    let mut port = open(&server.path(), 1_000_000);
    let write = packet(
        BROADCAST,
        INST_SYNC_WRITE,
        &[42, 2, 1, 0, 8, 2, 0, 8, 3, 0, 8, 4, 0, 8, 5, 0, 8, 6, 0, 8],
    );
    ask(&mut *port, &sync_read(), 48).unwrap();
    let start = Instant::now();
    for _ in 0..100 {
        port.write_all(&write).unwrap();
        ask(&mut *port, &sync_read(), 48).unwrap();
    }
    // A bound from below only: how much longer it takes is the machine's business.
    assert!(
        start.elapsed() >= Duration::from_micros(100 * 880 - 100),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn return_delay_and_injected_delay_are_spent_with_wire_timing() {
    let (_chain, server) = serve(&PtyOptions {
        wire_timing: true,
        ..PtyOptions::default()
    });
    let mut port = open(&server.path(), 1_000_000);
    ask(&mut *port, &packet(1, INST_WRITE, &[7, 250]), 6).unwrap();
    server.faults().inject("delay:1=3ms".parse().unwrap());
    let start = Instant::now();
    ask(&mut *port, &packet(1, INST_PING, &[]), 6).unwrap();
    assert!(
        start.elapsed() >= Duration::from_micros(3000 + 500 + 120),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn noise_on_the_line_never_stops_the_server() {
    let (_chain, server) = serve(&PtyOptions::default());
    let mut port = open(&server.path(), 1_000_000);
    let garbage: Vec<u8> = (0..20_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    port.write_all(&garbage).unwrap();
    assert!(eventually(
        || server.stats().bytes_in == garbage.len() as u64
    ));
    port.set_timeout(Duration::from_millis(100)).unwrap();
    let answered = eventually(|| {
        port.clear(serialport::ClearBuffer::Input).unwrap();
        ask(&mut *port, &packet(BROADCAST, INST_PING, &[]), 6).is_ok()
    });
    assert!(answered);
}
