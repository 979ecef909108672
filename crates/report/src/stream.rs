//! A document whose list is too long to be held: written item by item, and still one document.

use std::io::{self, Write};

use serde::Serialize;

use crate::Failure;

/// Writes `{"schema":…, <head>, "<list>":[…], <tail>}` as it goes.
pub struct ListWriter<W: Write> {
    out: W,
    first: bool,
}

impl<W: Write> ListWriter<W> {
    /// Writes everything up to the first item. `head` is the document without its list; its fields
    /// come before it, so that a reader knows what it reads.
    pub fn begin(mut out: W, schema: &str, head: &impl Serialize, list: &str) -> io::Result<Self> {
        out.write_all(b"{\"schema\":")?;
        serde_json::to_writer(&mut out, schema)?;
        write_members(&mut out, head)?;
        out.write_all(b",")?;
        serde_json::to_writer(&mut out, list)?;
        out.write_all(b":[")?;
        Ok(Self { out, first: true })
    }

    /// Writes one item.
    pub fn item(&mut self, item: &impl Serialize) -> io::Result<()> {
        self.out.write_all(if self.first { b"\n" } else { b",\n" })?;
        self.first = false;
        Ok(serde_json::to_writer(&mut self.out, item)?)
    }

    /// Ends the list and the document. What is only known at the end comes after the list, and so
    /// does what went wrong on the way.
    pub fn finish(mut self, tail: &impl Serialize, error: Option<&Failure>) -> io::Result<()> {
        self.out.write_all(b"]")?;
        write_members(&mut self.out, tail)?;
        if let Some(error) = error {
            self.out.write_all(b",\"error\":")?;
            serde_json::to_writer(&mut self.out, error)?;
        }
        self.out.write_all(b"}\n")?;
        self.out.flush()
    }
}

fn write_members(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    if let serde_json::Value::Object(members) = serde_json::to_value(value)? {
        for (name, value) in members {
            out.write_all(b",")?;
            serde_json::to_writer(&mut *out, &name)?;
            out.write_all(b":")?;
            serde_json::to_writer(&mut *out, &value)?;
        }
    }
    Ok(())
}
