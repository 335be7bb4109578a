use super::*;

/// What is printed goes nowhere: the reader has closed its end of the pipe.
struct Unread;

impl Write for Unread {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

/// A command line whose output nobody reads says nothing about it and ends with the code that it would end with.
pub(super) fn check_unread(words: &[&str], want_code: u8) {
    let words = std::iter::once("postern").chain(words.iter().copied()).map(OsString::from);
    let words: Vec<_> = words.collect();
    let mut err = Vec::new();
    let code = answer(words.clone(), &mut Unread, &mut err);
    assert_eq!((code, String::from_utf8_lossy(&err).as_ref()), (want_code, ""), "{words:?}");
}

#[test]
fn help_that_nobody_reads_on_ends_quietly() {
    check_unread(&["--help"], 0);
    check_unread(&["audit", "verify", "--help"], 0);
    check_unread(&["--version"], 0);
}

#[test]
fn what_cannot_be_written_for_another_reason_is_a_failure() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let words = ["postern", "schema", "config"].map(OsString::from);
    assert_eq!(answer(words, &mut Full, &mut io::sink()), 1);
}
