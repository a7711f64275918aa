//! A serial line: opened raw, 8 bits, no parity, one stop bit, no flow control. Called by `board`. Says in words why one cannot be had.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::termios::{
    ControlModes, OptionalActions, QueueSelector, SpecialCodeIndex, ioctl_tiocexcl, ioctl_tiocnxcl, isatty, tcflush,
    tcgetattr, tcsetattr,
};

use crate::exit::Usage;

/// A serial line in use, by this program alone.
#[derive(Debug)]
pub struct Port(File);

impl Port {
    /// Returns the line on `device` at `baud` bits a second; what it brought before is forgotten.
    ///
    /// # Errors
    /// [`Usage`]: it is not there, no serial line, somebody else's, or not that fast.
    pub fn open(device: &Path, baud: u32) -> Result<Self, Usage> {
        // Without O_NONBLOCK opening waits for a modem, and reading could wait for ever; without O_NOCTTY a ^C that comes on the line
        // would end the program.
        let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed();
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(device);
        let port = Self(file.map_err(|error| cannot_open(device, &error))?);
        if !isatty(&port.0) {
            return Err(no_line(device));
        }
        // Who may administrate the system may open it all the same.
        ioctl_tiocexcl(&port.0).map_err(|error| cannot_open(device, &error.into()))?;
        port.set(baud).map_err(|error| too_fast(device, baud, &error))?;
        Ok(port)
    }

    fn set(&self, baud: u32) -> io::Result<()> {
        let mut modes = tcgetattr(&self.0)?;
        modes.make_raw();
        modes.control_modes.remove(ControlModes::CSTOPB | ControlModes::CRTSCTS | ControlModes::HUPCL);
        modes.control_modes.insert(ControlModes::CREAD | ControlModes::CLOCAL);
        modes.special_codes[SpecialCodeIndex::VMIN] = 1;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        modes.set_speed(baud)?;
        tcsetattr(&self.0, OptionalActions::Now, &modes)?;
        Ok(tcflush(&self.0, QueueSelector::IFlush)?)
    }

    /// Returns another end of it, to read or to write; neither waits.
    ///
    /// # Errors
    /// The system has no more.
    pub fn other_end(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // It fails only when the line is gone, and nobody else is kept from it then.
        let _ = ioctl_tiocnxcl(&self.0);
    }
}

fn cannot_open(device: &Path, error: &io::Error) -> Usage {
    let (kind, device) = (error.kind(), device.display());
    let (what, fix) = if kind == ErrorKind::NotFound {
        let fix = "plug the adapter in, and take the name that `dmesg` then tells, such as /dev/ttyUSB0".into();
        (format!("there is no serial line {device}"), fix)
    } else if kind == ErrorKind::PermissionDenied {
        let group = "often by `sudo usermod -aG dialout $USER`, and log in again";
        let fix = format!("become a member of the group that `ls -l {device}` shows, {group}");
        (format!("you may not use the serial line {device}"), fix)
    } else if kind == ErrorKind::ResourceBusy {
        let fix = "end the terminal program, or the other run, that has it".into();
        (format!("somebody else uses the serial line {device}"), fix)
    } else {
        let fix = "unplug the adapter and plug it in again".into();
        (format!("the serial line {device} cannot be opened: {error}"), fix)
    };
    Usage { what, fix }
}

fn no_line(device: &Path) -> Usage {
    let what = format!("{} is no serial line", device.display());
    Usage { what, fix: "name the adapter's device, such as /dev/ttyUSB0".into() }
}

fn too_fast(device: &Path, baud: u32, error: &io::Error) -> Usage {
    let what = format!("the serial line {} cannot be set to {baud} baud: {error}", device.display());
    Usage { what, fix: format!("leave --baud out: the board's console has {}", super::BAUD) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_line_cannot_be_had_is_said_with_what_to_do() {
        let said = |kind: ErrorKind| cannot_open(Path::new("/dev/ttyUSB0"), &kind.into()).to_string();
        assert!(
            said(ErrorKind::PermissionDenied)
                .contains("\nhelp: become a member of the group that `ls -l /dev/ttyUSB0`")
        );
        assert!(
            said(ErrorKind::ResourceBusy).starts_with("somebody else uses the serial line /dev/ttyUSB0\nhelp: end ")
        );
        assert!(
            said(ErrorKind::TimedOut).starts_with("the serial line /dev/ttyUSB0 cannot be opened: timed out\nhelp: ")
        );
        let fast = too_fast(Path::new("/dev/ttyUSB0"), 7, &ErrorKind::InvalidInput.into()).to_string();
        assert!(fast.contains("cannot be set to 7 baud: ") && fast.contains("has 115200"), "{fast}");
    }
}
