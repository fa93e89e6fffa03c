//! The EEPROMs of a chain in one file, replaced as a whole so that a power cut leaves either the
//! old or the new one.

use super::memory::Image;
use super::servo::ServoConfig;
use super::{EmulatedChain, EmulatorError};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// Control table bytes of each servo in chain order, hexadecimal.
    eeproms: Vec<String>,
}

/// Where a chain keeps its EEPROMs.
#[derive(Debug, Clone)]
pub(crate) struct Store(PathBuf);

impl Store {
    /// A store in the file `path`, which need not exist yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    fn load(&self) -> Result<Option<Vec<Image>>, EmulatorError> {
        let text = match std::fs::read(&self.0) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.failed(source)),
        };
        parse(&text).map(Some).map_err(|reason| self.misfit(reason))
    }

    /// Replaces the file: new content to disk first, then the name.
    pub(crate) fn save(&self, eeproms: &[Image]) -> Result<(), EmulatorError> {
        let kept = Kept {
            version: VERSION,
            eeproms: eeproms.iter().map(|i| hex(i)).collect(),
        };
        let write = || -> std::io::Result<()> {
            let text = serde_json::to_vec_pretty(&kept)?;
            let mut name = self.0.file_name().unwrap_or_default().to_owned();
            name.push(".new");
            let new = self.0.with_file_name(name);
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&new, &self.0)?;
            let folder = self.0.parent().filter(|p| !p.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> EmulatorError {
        EmulatorError::Store {
            path: self.0.clone(),
            source,
        }
    }

    fn misfit(&self, reason: String) -> EmulatorError {
        EmulatorError::StoreFormat {
            path: self.0.clone(),
            reason,
        }
    }
}

impl EmulatedChain {
    /// Like [`EmulatedChain::new`], with the EEPROMs from `path` if the file exists. A
    /// [`super::PtyServer`] with the same path in its options keeps the file up to date.
    pub fn with_store(configs: &[ServoConfig], path: &Path) -> Result<Self, EmulatorError> {
        let fresh = Self::new(configs)?;
        let store = Store::new(path);
        match store.load()? {
            None => Ok(fresh),
            Some(eeproms) if eeproms.len() == configs.len() => {
                Ok(Self::with_eeproms(configs, &eeproms))
            }
            Some(eeproms) => Err(store.misfit(format!(
                "it has {} servos, the chain {}",
                eeproms.len(),
                configs.len()
            ))),
        }
    }
}

fn parse(text: &[u8]) -> Result<Vec<Image>, String> {
    let kept: Kept = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    if kept.version != VERSION {
        return Err(format!("version {} instead of {VERSION}", kept.version));
    }
    kept.eeproms
        .iter()
        .enumerate()
        .map(|(i, hex)| unhex(hex).ok_or(format!("servo {i} is damaged")))
        .collect()
}

fn hex(image: &[u8]) -> String {
    image.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Image> {
    let mut image: Image = super::memory::factory();
    if text.len() != 2 * image.len() || !text.is_ascii() {
        return None;
    }
    for (i, byte) in image.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feetech::registers as reg;
    use proptest::prelude::*;

    fn configs() -> Vec<ServoConfig> {
        vec![ServoConfig::new(1), ServoConfig::new(2)]
    }

    #[test]
    fn unlocked_eeprom_writes_survive_and_locked_ones_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("arm.json");
        let mut chain = EmulatedChain::with_store(&configs(), &path).unwrap();
        chain.servos_mut()[0].write(reg::P_COEFFICIENT.addr, &[11]);
        chain.servos_mut()[1].write(reg::LOCK.addr, &[0]);
        chain.servos_mut()[1].write(reg::ID.addr, &[7]);
        Store::new(&path)
            .save(&chain.changed_eeproms().unwrap())
            .unwrap();
        assert!(chain.changed_eeproms().is_none());

        let again = EmulatedChain::with_store(&configs(), &path).unwrap();
        assert_eq!(again.servos()[0].get(&reg::P_COEFFICIENT), 32);
        assert_eq!(again.servos()[1].id(), 7);
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "no temporary file is left");
    }

    #[test]
    fn what_is_no_store_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("arm.json");
        for text in [
            "",
            "{}",
            r#"{"version":2,"eeproms":[]}"#,
            r#"{"version":1,"eeproms":["00"]}"#,
            r#"{"version":1,"eeproms":[]}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            let error = EmulatedChain::with_store(&configs(), &path)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("arm.json") && error.contains("delete it"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Store::new(Path::new("/nonexistent/arm.json"))
            .save(&[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/arm.json"), "{error}");
    }

    proptest! {
        #[test]
        fn any_file_parses_or_is_refused(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&text);
        }

        #[test]
        fn images_round_trip(bytes in prop::collection::vec(any::<u8>(), reg::TABLE_BYTES)) {
            let mut image = super::super::memory::factory();
            image.copy_from_slice(&bytes);
            prop_assert_eq!(unhex(&hex(&image)), Some(image));
        }
    }
}
