//! The live terminal panel: joints, targets, rates, ages, alarms. Draws on its own thread at
//! 10 Hz from a snapshot that the monitor thread keeps current, and hands key presses on.

use anyhow::{Context, Result};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Gauge, Paragraph, Row, Table};
use std::io::IsTerminal;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// One line of the joint table.
#[derive(Debug, Clone, Default)]
pub(crate) struct JointLine {
    pub(crate) name: String,
    /// Measured, in LeRobot's units.
    pub(crate) measured: f64,
    /// Commanded, in LeRobot's units.
    pub(crate) target: f64,
    /// `deg` or `%`.
    pub(crate) unit: &'static str,
    /// Where in the joint's range it is, 0..=1.
    pub(crate) fraction: f64,
    /// Empty when healthy.
    pub(crate) fault: String,
}

/// What the panel shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) title: String,
    /// What is going on now, such as `episode 2 of 5`.
    pub(crate) phase: String,
    /// Progress of the phase, 0..=1, if it has an end.
    pub(crate) progress: Option<f64>,
    pub(crate) joints: Vec<JointLine>,
    /// Label and value, such as `loop` → `30.0 Hz`.
    pub(crate) figures: Vec<(String, String)>,
    /// Shown in red.
    pub(crate) alarms: Vec<String>,
    /// Keys that do something.
    pub(crate) help: String,
}

/// The snapshot that the monitor writes and the panel draws.
pub(crate) type Shared = Arc<Mutex<Snapshot>>;

/// A running panel; the terminal is restored when it is dropped.
#[derive(Debug)]
pub(crate) struct Panel {
    stop: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Panel {
    /// Whether there is a terminal to draw on and to read keys from.
    pub(crate) fn is_possible() -> bool {
        std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
    }

    /// Takes the terminal over.
    pub(crate) fn start(shared: Shared, keys: SyncSender<KeyEvent>) -> Result<Self> {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("panel".into())
            .spawn(move || {
                let mut terminal = ratatui::init();
                while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                    let snapshot = shared.lock().map(|s| s.clone()).unwrap_or_default();
                    if terminal.draw(|frame| draw(frame, &snapshot)).is_err() {
                        break;
                    }
                    forward_keys(&keys);
                }
                ratatui::restore();
            })
            .context("cannot start the panel's thread")?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panel that panicked has already restored the terminal through ratatui's hook.
            let _ = thread.join();
        }
    }
}

fn forward_keys(keys: &SyncSender<KeyEvent>) {
    if !event::poll(Duration::from_millis(100)).unwrap_or(false) {
        return;
    }
    if let Ok(Event::Key(key)) = event::read() {
        // Raw mode keeps the terminal from turning Ctrl-C into a signal.
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            // SAFETY: raise has no preconditions.
            unsafe { libc::raise(libc::SIGINT) };
        }
        let _ = keys.try_send(key);
    }
}

fn draw(frame: &mut ratatui::Frame<'_>, snapshot: &Snapshot) {
    let rows = snapshot.joints.len() as u16 + 3;
    let [head, joints, figures, alarms, help] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(rows),
        Constraint::Min(4),
        Constraint::Length(snapshot.alarms.len().clamp(1, 4) as u16 + 2),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, snapshot);
    frame.render_widget(joint_table(snapshot), joints);
    let lines: Vec<Line<'_>> = snapshot
        .figures
        .iter()
        .map(|(label, value)| {
            Line::from(vec![
                Span::styled(format!(" {label:<22}"), Style::new().fg(Color::DarkGray)),
                Span::raw(value),
            ])
        })
        .collect();
    frame.render_widget(
        Paragraph::new(lines).block(Block::bordered().title(" timing ")),
        figures,
    );
    let (text, colour) = if snapshot.alarms.is_empty() {
        (" none".to_owned(), Color::Green)
    } else {
        (snapshot.alarms.join("\n"), Color::Red)
    };
    frame.render_widget(
        Paragraph::new(text)
            .style(Style::new().fg(colour))
            .block(Block::bordered().title(" alarms ")),
        alarms,
    );
    frame.render_widget(
        Paragraph::new(snapshot.help.as_str()).style(Style::new().fg(Color::DarkGray)),
        help,
    );
}

fn draw_head(frame: &mut ratatui::Frame<'_>, area: ratatui::layout::Rect, snapshot: &Snapshot) {
    let block = Block::bordered().title(format!(" {} ", snapshot.title));
    match snapshot.progress {
        Some(progress) => frame.render_widget(
            Gauge::default()
                .block(block)
                .gauge_style(Style::new().fg(Color::Cyan))
                .ratio(progress.clamp(0.0, 1.0))
                .label(snapshot.phase.clone()),
            area,
        ),
        None => frame.render_widget(Paragraph::new(snapshot.phase.as_str()).block(block), area),
    }
}

fn joint_table(snapshot: &Snapshot) -> Table<'_> {
    let rows = snapshot.joints.iter().map(|joint| {
        let filled = (joint.fraction.clamp(0.0, 1.0) * 20.0).round() as usize;
        let style = if joint.fault.is_empty() {
            Style::new()
        } else {
            Style::new().fg(Color::Red)
        };
        Row::new([
            Cell::from(joint.name.as_str()),
            Cell::from(format!("{:>8.2} {}", joint.measured, joint.unit)),
            Cell::from(format!("{:>8.2} {}", joint.target, joint.unit)),
            Cell::from(format!("{}{}", "━".repeat(filled), "·".repeat(20 - filled))),
            Cell::from(joint.fault.as_str()),
        ])
        .style(style)
    });
    Table::new(
        rows,
        [
            Constraint::Length(16),
            Constraint::Length(14),
            Constraint::Length(14),
            Constraint::Length(22),
            Constraint::Min(10),
        ],
    )
    .header(
        Row::new(["joint", "measured", "target", "range", "fault"])
            .style(Style::new().add_modifier(Modifier::BOLD)),
    )
    .block(Block::bordered().title(" joints "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn a_faulty_joint_and_the_alarms_are_on_the_screen() {
        let mut terminal = Terminal::new(TestBackend::new(90, 24)).unwrap();
        let snapshot = Snapshot {
            title: "so101".into(),
            phase: "teleop".into(),
            joints: vec![JointLine {
                name: "gripper".into(),
                measured: 12.5,
                target: 13.0,
                unit: "%",
                fraction: 0.5,
                fault: "no reply".into(),
            }],
            alarms: vec!["gripper: no reply".into()],
            ..Snapshot::default()
        };
        terminal.draw(|frame| draw(frame, &snapshot)).unwrap();
        let screen = terminal.backend().to_string();
        for expected in [
            "so101",
            "teleop",
            "12.50 %",
            "no reply",
            "gripper: no reply",
        ] {
            assert!(
                screen.contains(expected),
                "{expected} is missing from\n{screen}"
            );
        }
    }
}
