//! Programs that do less than any recorder by probes and ring of the kernel: nothing, or nothing but copy.

use std::{
    error::Error,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{MapData, RingBuf},
    programs::BtfTracePoint,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{
    cpu,
    recorders::{Task, Told},
};

static NOOP: &[u8] = aya::include_bytes_aligned!("../../ebpf/bpf/noop.bpf.o");
static COPY: &[u8] = aya::include_bytes_aligned!("../../ebpf/bpf/copy.bpf.o");

/// How many processes `copy.bpf.c` copies from.
const RECORDED: usize = 4;

/// Probes that do nothing; dropping it detaches them.
pub struct Noop(#[allow(dead_code, reason = "held until it is dropped")] Ebpf);

impl Noop {
    /// # Errors
    /// Where the kernel refuses the programs.
    pub fn start() -> Result<Noop, Box<dyn Error>> {
        let mut programs = Ebpf::load(NOOP)?;
        attach(&mut programs)?;
        Ok(Noop(programs))
    }
}

/// Probes that copy, and a thread that takes the copies and throws them away.
pub struct Copies {
    _programs: Ebpf,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Copies {
    /// # Errors
    /// Where the kernel refuses the programs, or more processes are to be recorded than they know.
    pub fn start(task: &Task<'_>) -> Result<Copies, Box<dyn Error>> {
        let mut recorded = [0u32; RECORDED];
        let room = recorded.get_mut(..task.pids.len()).ok_or("the service has too many processes")?;
        room.copy_from_slice(task.pids);
        let mut programs = EbpfLoader::new().override_global("recorded", &recorded, true).load(COPY)?;
        let ring = programs.take_map("events").ok_or("the object has no ring")?;
        let ring = RingBuf::try_from(ring)?;
        attach(&mut programs)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, cpu) = (Arc::clone(&stop), task.cpu);
        let thread = std::thread::spawn(move || {
            cpu::pin(cpu);
            take(ring, &stopped)
        });
        Ok(Copies { _programs: programs, stop, thread })
    }

    /// # Errors
    /// Where nothing was copied, as in a PID namespace of its own, whose numbers the programs do not know.
    pub fn finish(self) -> Result<Told, String> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join().expect("it does not panic") {
            0 => Err("nothing was copied".to_owned()),
            copies => Ok(Told { events: Some(copies), lost: None }),
        }
    }
}

/// How many copies there were.
fn take(mut ring: RingBuf<MapData>, stopped: &AtomicBool) -> u64 {
    let mut taken = 0;
    while !stopped.load(Ordering::Relaxed) {
        let mut wait = [PollFd::new(ring.as_fd(), PollFlags::POLLIN)];
        // Whether it was woken or only waited long enough.
        let _ = poll(&mut wait, PollTimeout::from(50u8));
        while ring.next().is_some() {
            taken += 1;
        }
    }
    taken
}

fn attach(programs: &mut Ebpf) -> Result<(), Box<dyn Error>> {
    let btf = Btf::from_sys_fs()?;
    for (name, program) in programs.programs_mut() {
        let target = name.to_owned();
        let program: &mut BtfTracePoint = program.try_into()?;
        program.load(&target, &btf)?;
        program.attach()?;
    }
    Ok(())
}
