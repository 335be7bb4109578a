//! The memory that the cgroups of this process allow it, in bytes.

const ROOT: &str = "/sys/fs/cgroup";
/// Version 1 says this where there is no limit: the largest multiple of a page.
const UNLIMITED_V1: u64 = 1 << 62;

/// The least of what its cgroup and those around it allow, where one allows less than everything.
pub(super) fn limit(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    groups.lines().filter_map(|line| of_group(line, &read)).min()
}

/// `0::/path` is version 2; `4:memory:/path`, or with several controllers, version 1.
fn of_group(line: &str, read: &impl Fn(&str) -> Option<String>) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (mount, file) = match controllers {
        "" => (ROOT.to_owned(), "memory.max"),
        some if some.split(',').any(|one| one == "memory") => {
            (format!("{ROOT}/memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    // A container may see the path of the host, which is not there: then its own is at the root.
    let mut path = path.trim_end_matches('/');
    let mut least: Option<u64> = None;
    loop {
        let text = read(&format!("{mount}{path}/{file}"));
        let bytes =
            text.and_then(|text| text.trim().parse::<u64>().ok()).filter(|bytes| *bytes < UNLIMITED_V1);
        least = [least, bytes].into_iter().flatten().min();
        let Some((parent, _)) = path.rsplit_once('/') else { return least };
        path = parent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With these files, so many bytes are allowed.
    fn check(files: &[(&str, &str)], expected: Option<u64>) {
        let read =
            |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
        assert_eq!(limit(read), expected, "{files:?}");
    }

    #[test]
    fn a_limit_is_the_least_of_a_group_and_those_around_it() {
        let group = ("/proc/self/cgroup", "0::/a/b\n");
        check(&[group, ("/sys/fs/cgroup/a/b/memory.max", "1000\n")], Some(1000));
        check(
            &[group, ("/sys/fs/cgroup/a/b/memory.max", "max\n"), ("/sys/fs/cgroup/a/memory.max", "7")],
            Some(7),
        );
        check(
            &[group, ("/sys/fs/cgroup/a/b/memory.max", "9"), ("/sys/fs/cgroup/a/memory.max", "7")],
            Some(7),
        );
        check(&[group, ("/sys/fs/cgroup/a/b/memory.max", "max\n")], None);
        check(&[("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "5\n")], Some(5));
        check(&[("/proc/self/cgroup", "0::/host/path\n"), ("/sys/fs/cgroup/memory.max", "5\n")], Some(5));
    }

    #[test]
    fn version_one_has_a_controller_and_a_number_for_no_limit() {
        let group = ("/proc/self/cgroup", "7:cpu,memory:/a\n3:pids:/a\n");
        check(&[group, ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000\n")], Some(1000));
        check(&[group, ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n")], None);
    }

    #[test]
    fn without_groups_there_is_no_limit() {
        check(&[], None);
        check(&[("/proc/self/cgroup", "nonsense")], None);
    }
}
