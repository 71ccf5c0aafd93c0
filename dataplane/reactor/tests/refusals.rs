//! Hosts that refuse io_uring, in whole or in part, played by a seccomp filter on one thread, as Docker's default profile does.
#![expect(unsafe_code, reason = "a seccomp filter has no safe form")]
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail it by panicking, as the test does"
)]

use std::thread;
use std::time::{Duration, Instant};

use waterpark_reactor::{
    Buffers, Driver, DriverChoice, DriverConfig, DriverKind, OpenError, SetupNote, UringRefusal, Wait, open,
};

const CONFIG: fn() -> DriverConfig = || DriverConfig {
    ring_entries: 512,
    link_buffers: Buffers::LINK_DEMO,
    client_buffers: Buffers::CLIENT_DEMO,
    ..DriverConfig::default()
};

/// Runs `test` on a thread where `io_uring_setup` with more than `entries_max` entries fails with `errno`.
fn where_refused(entries_max: u32, errno: i32, test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let refused = scope.spawn(|| {
            refuse(entries_max, errno);
            test();
        });
        refused.join().unwrap();
    });
}

fn refuse(entries_max: u32, errno: i32) {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let greater = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    let done = libc::BPF_RET | libc::BPF_K;
    let setup = u32::try_from(libc::SYS_io_uring_setup).unwrap();
    // `struct seccomp_data`: the call's number at 0, the lower half of its first argument at 16.
    let mut filter = [
        step(load, 0, 0, 0),
        step(equal, 0, 3, setup),
        step(load, 0, 0, 16),
        step(greater, 0, 1, entries_max),
        step(done, 0, 0, libc::SECCOMP_RET_ERRNO | u32::try_from(errno).unwrap()),
        step(done, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: sets a flag of the calling thread.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the kernel copies the program, which lives beyond the call; it binds this thread alone.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_host_that_forbids_io_uring_gets_epoll_with_the_reason_in_the_banner() {
    where_refused(0, libc::EPERM, || {
        let (mut driver, notes) = open(DriverChoice::Auto, &CONFIG()).unwrap();
        assert_eq!(driver.kind(), DriverKind::Epoll);
        assert!(
            matches!(notes[..], [.., SetupNote::EpollInstead(UringRefusal::Forbidden(_))]),
            "{notes:?}"
        );
        let line = notes.last().unwrap().to_string();
        assert!(line.contains("epoll") && line.contains("seccomp"), "{line}");
        driver.turn(Wait::Poll, &mut Vec::new()).unwrap();

        let demanded = open(DriverChoice::IoUring, &CONFIG());
        assert!(matches!(demanded, Err(OpenError::Uring(UringRefusal::Forbidden(_)))));
    });
}

#[test]
fn a_kernel_without_io_uring_gets_epoll() {
    for errno in [libc::ENOSYS, libc::EINVAL] {
        where_refused(0, errno, || {
            let (driver, notes) = open(DriverChoice::Auto, &CONFIG()).unwrap();
            assert_eq!(driver.kind(), DriverKind::Epoll);
            assert!(
                matches!(
                    notes[..],
                    [.., SetupNote::EpollInstead(UringRefusal::Unsupported { .. })]
                ),
                "{notes:?}"
            );
        });
    }
}

#[test]
fn where_locked_memory_is_short_the_ring_is_halved_until_it_fits() {
    if let Err(OpenError::Uring(refusal)) = open(DriverChoice::IoUring, &CONFIG()) {
        eprintln!("skipped: {refusal}");
        return;
    }
    where_refused(128, libc::ENOMEM, || {
        let (mut driver, notes) = open(DriverChoice::IoUring, &CONFIG()).unwrap();
        assert!(
            matches!(notes[..], [.., SetupNote::RingHalved { entries: 128 }]),
            "{notes:?}"
        );
        driver.waker().wake();
        let mut events = Vec::new();
        driver.turn(Wait::Until(Duration::from_secs(5)), &mut events).unwrap();
        assert_eq!(events.len(), 1);
    });
}

#[test]
fn where_no_ring_fits_epoll_serves_after_a_second_of_patience() {
    where_refused(0, libc::ENOMEM, || {
        let begun = Instant::now();
        let (driver, notes) = open(DriverChoice::Auto, &CONFIG()).unwrap();
        let waited = begun.elapsed();
        assert_eq!(driver.kind(), DriverKind::Epoll);
        assert!(
            matches!(notes[..], [.., SetupNote::EpollInstead(UringRefusal::LockedMemory(_))]),
            "{notes:?}"
        );
        assert!(
            waited >= Duration::from_millis(900) && waited < Duration::from_secs(3),
            "{waited:?}"
        );
    });
}

#[test]
fn buffers_that_no_ring_can_hold_are_refused_by_name() {
    for wrong in [
        Buffers { count: 3, bytes: 2048 },
        Buffers { count: 0, bytes: 2048 },
        Buffers { count: 64, bytes: 100 },
        Buffers {
            count: 64,
            bytes: u32::MAX,
        },
    ] {
        let config = DriverConfig {
            client_buffers: wrong,
            ..CONFIG()
        };
        assert!(matches!(open(DriverChoice::Epoll, &config), Err(OpenError::Buffers(named)) if named == wrong));
    }
}
