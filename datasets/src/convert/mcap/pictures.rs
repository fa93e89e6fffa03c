//! A camera topic's messages → the frames that rows need, in order.

use super::stream::codec_of;
use super::survey::TopicKind;
use crate::error::{Error, Result};
use crate::reader::pictures::Stored;
use crate::reader::value::{Image, Pixels};
use crate::video::avcodec::Decoder;
use crate::video::samples::Track;
use sinew_runtime::frame::Frame;
use sinew_runtime::ros::messages::{CompressedImageMsg, CompressedVideoMsg, ImageMsg, Message};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

/// Larger pictures are refused, pixels on a side.
const SIDE_LIMIT: u32 = 8192;

/// A message, and how many rows in a row show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) message: u64,
    pub(super) rows: u64,
}

/// A camera on its way.
pub(super) struct Camera {
    topic: String,
    kind: TopicKind,
    wanted: VecDeque<Wanted>,
    /// Number of the next message.
    next: u64,
    decoder: Option<Decoder>,
    last: Option<Arc<Frame>>,
    /// Frames for rows, and how many rows each.
    ready: VecDeque<(Arc<Frame>, u64)>,
    /// Messages that could not be decoded although rows needed them.
    pub(super) undecodable: u64,
    /// Whether pictures had odd sides, which videos cannot have.
    pub(super) cropped: bool,
}

impl Camera {
    pub(super) fn new(topic: &str, kind: TopicKind, wanted: Vec<Wanted>) -> Self {
        Self {
            topic: topic.to_owned(),
            kind,
            wanted: wanted.into(),
            next: 0,
            decoder: None,
            last: None,
            ready: VecDeque::new(),
            undecodable: 0,
            cropped: false,
        }
    }

    /// Takes the next message.
    pub(super) fn take(&mut self, data: &[u8]) -> Result<()> {
        let number = self.next;
        self.next += 1;
        let Some(front) = self.wanted.front() else {
            return Ok(());
        };
        if self.kind == TopicKind::CompressedVideo {
            return self.video(number, data);
        }
        if front.message > number {
            return Ok(());
        }
        let decoded = match self.kind {
            TopicKind::Image => raw(&self.topic, data)?,
            _ => still(&self.topic, data),
        };
        match decoded {
            Some(frame) => self.deliver(number, frame),
            None => self.undecodable += 1,
        }
        Ok(())
    }

    /// The end of the topic: whatever rows still want is the last frame.
    pub(super) fn finish(&mut self) -> Result<()> {
        if let Some(mut decoder) = self.decoder.take()
            && decoder.finish(Path::new(&self.topic)).is_ok()
        {
            self.receive(&mut decoder)?;
        }
        while let Some(wanted) = self.wanted.pop_front() {
            let Some(last) = &self.last else {
                return Err(Error::video(
                    Path::new(&self.topic),
                    "none of its pictures can be decoded",
                ));
            };
            self.ready.push_back((last.clone(), wanted.rows));
        }
        Ok(())
    }

    /// Whether the next row has its frame.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The frame of the next row.
    pub(super) fn pop(&mut self) -> Option<Arc<Frame>> {
        let (frame, rows) = self.ready.front_mut()?;
        let found = frame.clone();
        *rows -= 1;
        if *rows == 0 {
            self.ready.pop_front();
        }
        Some(found)
    }

    /// Bytes of frames that wait.
    pub(super) fn waiting(&self) -> usize {
        self.ready.iter().map(|(frame, _)| frame.data.len()).sum()
    }

    fn deliver(&mut self, number: u64, frame: Frame) {
        self.cropped |= frame.width % 2 + frame.height % 2 > 0;
        let frame = Arc::new(even(frame));
        while let Some(front) = self.wanted.front().filter(|w| w.message <= number).copied() {
            let held = match &self.last {
                Some(last) if front.message < number => last.clone(),
                _ => frame.clone(),
            };
            self.ready.push_back((held, front.rows));
            self.wanted.pop_front();
        }
        self.last = Some(frame);
    }

    fn video(&mut self, number: u64, data: &[u8]) -> Result<()> {
        let path = Path::new(&self.topic);
        let Ok(message) = CompressedVideoMsg::decode(data) else {
            self.undecodable += 1;
            return Ok(());
        };
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => {
                let codec = codec_of(&message.format).ok_or_else(|| {
                    let format = message.format.escape_debug();
                    Error::video(path, format!("its format `{format}` is not known"))
                })?;
                Decoder::open(path, &Track::unindexed(codec))?
            }
        };
        let size = u32::try_from(message.data.len()).unwrap_or(u32::MAX);
        let sent = decoder.send(path, size, number as i64, |bytes| {
            bytes.copy_from_slice(&message.data);
            Ok(())
        });
        if sent.is_err() {
            // Before the first key frame there is nothing to decode.
            self.undecodable += 1;
        }
        self.receive(&mut decoder)?;
        self.decoder = Some(decoder);
        Ok(())
    }

    /// Takes the pictures that come out.
    fn receive(&mut self, decoder: &mut Decoder) -> Result<()> {
        let topic = self.topic.clone();
        let path = Path::new(&topic);
        while let Ok(Some(number)) = decoder.receive(path) {
            let number = u64::try_from(number).unwrap_or_default();
            if self.wanted.front().is_some_and(|w| w.message <= number) {
                let image = decoder.picture(path)?.to_rgb(path)?;
                if let Some(frame) = frame(image) {
                    self.deliver(number, frame);
                }
            }
        }
        Ok(())
    }
}

/// The picture without the last column or row, if their number is odd.
fn even(mut frame: Frame) -> Frame {
    let (width, height) = (frame.width & !1, frame.height & !1);
    if (width, height) == (frame.width, frame.height) {
        return frame;
    }
    let data = std::mem::take(&mut frame.data);
    let rows = data.chunks_exact(3 * frame.width as usize);
    let cut = rows.take(height as usize);
    let cut = cut.flat_map(|row| &row[..3 * width as usize]);
    Frame::new(width, height, cut.copied().collect())
}

fn frame(image: Image) -> Option<Frame> {
    match image.pixels {
        Pixels::Rgb(rgb) => Some(Frame::new(image.width as u32, image.height as u32, rgb)),
        Pixels::Depth(_) => None,
    }
}

/// The picture in a CompressedImage; `None` if it cannot be decoded.
fn still(topic: &str, data: &[u8]) -> Option<Frame> {
    let message = CompressedImageMsg::decode(data).ok()?;
    frame(
        Stored::Colour
            .decode(Path::new(topic), &message.data)
            .ok()?,
    )
}

/// The picture in an Image; `None` if it is damaged.
fn raw(topic: &str, data: &[u8]) -> Result<Option<Frame>> {
    let Ok(message) = ImageMsg::decode(data) else {
        return Ok(None);
    };
    // Bytes a pixel, and where in them red, green and blue are.
    let (size, places) = match message.encoding.as_str() {
        "rgb8" => (3, [0, 1, 2]),
        // OpenCV's order.
        "bgr8" | "8UC3" => (3, [2, 1, 0]),
        "rgba8" => (4, [0, 1, 2]),
        "bgra8" | "8UC4" => (4, [2, 1, 0]),
        "mono8" | "8UC1" => (1, [0, 0, 0]),
        other => {
            return Err(Error::video(
                Path::new(topic),
                format!(
                    "pictures encoded as `{}` are not read, only rgb8, bgr8, rgba8, bgra8 and mono8; leave the camera out by naming the others (--camera)",
                    other.escape_debug()
                ),
            ));
        }
    };
    let (width, height) = (message.width, message.height);
    let sound = (1..=SIDE_LIMIT).contains(&width) && (1..=SIDE_LIMIT).contains(&height);
    let (row, step) = (width as usize * size, message.step as usize);
    if !sound || step < row || message.data.len() < step * (height as usize - 1) + row {
        return Ok(None);
    }
    let mut rgb = Vec::with_capacity(3 * width as usize * height as usize);
    for line in message.data.chunks(step).take(height as usize) {
        for pixel in line[..row].chunks_exact(size) {
            rgb.extend(places.map(|place| pixel[place]));
        }
    }
    Ok(Some(Frame::new(width, height, rgb)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(encoding: &str, step: u32, data: &[u8]) -> Vec<u8> {
        let message = ImageMsg {
            height: 2,
            width: 2,
            encoding: encoding.into(),
            step,
            data: data.to_vec(),
            ..ImageMsg::default()
        };
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    #[test]
    fn raw_pictures_of_every_encoding_become_rgb() {
        let decoded = |encoding, step, data: &[u8]| {
            raw("t", &image(encoding, step, data))
                .unwrap()
                .map(|f| f.data.clone())
        };
        let bgr = [3, 2, 1, 6, 5, 4, 0, 9, 8, 7, 12, 11, 10, 0];
        assert_eq!(
            decoded("bgr8", 7, &bgr).unwrap(),
            (1..=12).collect::<Vec<u8>>()
        );
        assert_eq!(
            decoded("mono8", 2, &[1, 2, 3, 4]).unwrap(),
            [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
        );
        assert_eq!(
            decoded(
                "rgba8",
                8,
                &[1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 1, 2, 3, 0]
            )
            .unwrap()
            .len(),
            12
        );
        assert_eq!(decoded("rgb8", 6, &[0; 11]), None, "cut off");
        assert!(raw("t", &image("16UC1", 4, &[0; 8])).is_err());
    }

    #[test]
    fn odd_pictures_lose_their_last_column_and_row() {
        let data: Vec<u8> = (0..3 * 3 * 3).collect();
        let cut = even(Frame::new(3, 3, data));
        assert_eq!((cut.width, cut.height), (2, 2));
        assert_eq!(cut.data, [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14]);
    }

    #[test]
    fn rows_get_the_newest_picture_that_could_be_decoded() {
        let wanted = [(0, 2), (2, 1), (4, 3)].map(|(message, rows)| Wanted { message, rows });
        let mut camera = Camera::new("t", TopicKind::Image, wanted.to_vec());
        for number in 0..6_u8 {
            let whole = image("mono8", 2, &[number; 4]);
            let data = if number == 2 { &whole[..8] } else { &whole[..] };
            camera.take(data).unwrap();
        }
        camera.finish().unwrap();
        let shown: Vec<u8> = std::iter::from_fn(|| camera.pop())
            .map(|f| f.data[0])
            .collect();
        assert_eq!((shown, camera.undecodable), (vec![0, 0, 0, 4, 4, 4], 1));
    }
}
