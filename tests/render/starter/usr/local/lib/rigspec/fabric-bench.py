# Written by rigspec for the rig starter, from gpus, pcie and services in its spec.
# Edits here are overwritten by the next run: change the spec instead.
"""Measures what the links between GPUs deliver, and whether it is what was sent.

Needs only torch: it runs inside the image of a service, started by /usr/local/lib/rigspec/load.
Prints one JSON object a line. Each measurement is a process group of its own with a time limit, so
that a copy that never ends costs its limit and nothing else.
"""

import argparse
import contextlib
import datetime
import itertools
import json
import os
import select
import signal
import statistics
import sys
import tempfile
import time

KILL_GRACE_S = 10
"""A process that is still there so long after SIGKILL waits for the driver: it cannot be ended."""
TOGETHER_GRACE_S = 5
"""When one rank has failed, how long the others may wait for it."""


def say(event, **record):
    print(json.dumps({"event": event, **record}), flush=True)


def one_line(problem):
    text = " ".join(str(problem).split()) or type(problem).__name__
    return f"{type(problem).__name__}: {text}"[:300]


# --- processes ------------------------------------------------------------------------------------


RUNNING = []
"""Jobs that have to be ended if we are."""


class Job:
    """One piece of work in its own process group; what it reports arrives line by line."""

    def __init__(self, work, *args):
        self.fields, self.rest, self.done = {}, b"", False
        self.pipe, end = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._child(end, work, args)
        os.close(end)
        RUNNING.append(self)

    def _child(self, end, work, args):
        """Never returns. Libraries may print: their words go to stderr."""
        status = 1
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.dup2(2, 1)

            def report(**fields):
                os.write(end, json.dumps(fields).encode() + b"\n")

            try:
                work(report, *args)
                report(ended="measured")
                status = 0
            except BaseException as problem:
                report(ended="error", error=one_line(problem))
        finally:
            os._exit(status)

    def read(self, hear):
        data = os.read(self.pipe, 65536)
        if not data:
            self.done = True
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            fields = json.loads(line)
            self.fields.update(fields)
            if hear:
                hear(self, fields)

    def end(self):
        """Kill the whole group and reap it; False when the kernel does not let it go."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # between fork and setsid it has no group yet
        deadline = time.monotonic() + KILL_GRACE_S
        while (found := os.waitpid(self.pid, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        os.close(self.pipe)
        RUNNING.remove(self)
        code = os.waitstatus_to_exitcode(found[1])
        if "ended" not in self.fields:
            self.fields.update(ended="error", error=f"the process ended with status {code}")
        return True


def collect(jobs, limit_s, hear=None, together=False):
    """Wait for all jobs, at most `limit_s`; what has not ended by then is a hang."""
    deadline = time.monotonic() + limit_s
    while any(not job.done for job in jobs) and time.monotonic() < deadline:
        open_pipes = {job.pipe: job for job in jobs if not job.done}
        left = max(0.0, deadline - time.monotonic())
        for pipe in select.select(list(open_pipes), [], [], min(left, 0.5))[0]:
            open_pipes[pipe].read(hear)
        failed = any(job.done and job.fields.get("ended") != "measured" for job in jobs)
        if together and failed:
            deadline = min(deadline, time.monotonic() + TOGETHER_GRACE_S)
    stuck = []
    for job in jobs:
        if not job.done and "ended" not in job.fields:
            job.fields.update(ended="hang", error=f"did not end within {limit_s:g} s")
        if not job.end():
            stuck.append(str(job.pid))
    if stuck:
        say("error", error=f"process {', '.join(stuck)} cannot be killed: the driver holds it")
        os._exit(4)
    return [job.fields for job in jobs]


def end_all(number, frame):
    for job in list(RUNNING):
        job.end()
    os._exit(128 + number)


# --- devices --------------------------------------------------------------------------------------


class Lane:
    """The way of one copy: on CUDA two streams of its own, else copies wait for each other."""

    def __init__(self, source, target):
        self.source, self.target = source, target

    def run(self, action, times):
        begun = time.perf_counter()
        for _ in range(times):
            action()
        self.took = time.perf_counter() - begun

    def seconds(self):
        return self.took


class CudaLane(Lane):
    def __init__(self, source, target):
        super().__init__(source, target)
        self.streams = [torch.cuda.Stream(device) for device in (source, target)]
        self.marks = []

    @contextlib.contextmanager
    def here(self):
        with torch.cuda.stream(self.streams[1]), torch.cuda.stream(self.streams[0]):
            yield

    def run(self, action, times):
        with self.here():
            self.marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            self.marks[0].record(self.streams[0])
            for _ in range(times):
                action()
            self.marks[1].record(self.streams[0])

    def seconds(self):
        self.marks[1].synchronize()
        return self.marks[0].elapsed_time(self.marks[1]) / 1e3


class Cpu:
    """Copies within host memory, and gloo: for tests on machines without GPUs."""

    kind, backend, lane, matrix = "cpu", "gloo", Lane, 192

    @staticmethod
    def place(index):
        return torch.device("cpu")

    @staticmethod
    def names(count):
        return ["cpu"] * count

    @staticmethod
    def granted(source, target):
        return True

    @staticmethod
    def sync(*places):
        pass

    @staticmethod
    def copy(target, source):
        target.copy_(source)

    @staticmethod
    def host_buffer(like):
        return torch.empty_like(like, device="cpu")

    @classmethod
    def work(cls, place):
        """Own work of one card, without any link."""
        a = torch.ones(cls.matrix, cls.matrix, device=place)
        (a @ a).sum().item()

    @staticmethod
    def latencies(action, places, times):
        found = []
        for _ in range(times):
            begun = time.perf_counter()
            action()
            found.append((time.perf_counter() - begun) * 1e6)
        return found


class Cuda(Cpu):
    kind, backend, lane, matrix = "cuda", "nccl", CudaLane, 4096

    @staticmethod
    def place(index):
        return torch.device("cuda", index)

    @staticmethod
    def names(count):
        found = torch.cuda.device_count()
        if found < count:
            raise SystemExit(f"{found} of {count} cards can be used in this container")
        return [torch.cuda.get_device_name(n) for n in range(count)]

    @staticmethod
    def granted(source, target):
        return torch.cuda.can_device_access_peer(source.index, target.index)

    @staticmethod
    def sync(*places):
        for place in places:
            torch.cuda.synchronize(place)

    @staticmethod
    def copy(target, source):
        target.copy_(source, non_blocking=True)

    @staticmethod
    def host_buffer(like):
        return torch.empty_like(like, device="cpu", pin_memory=True)

    @staticmethod
    def latencies(action, places, times):
        """Between events in a queue that is already full: the time to issue it is not counted."""
        torch.cuda.set_device(places[0])
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
        torch.cuda._sleep(50_000_000)
        marks[0].record()
        for mark in marks[1:]:
            action()
            mark.record()
        torch.cuda.synchronize(places[0])
        return [a.elapsed_time(b) * 1e3 for a, b in itertools.pairwise(marks)]


DEVICES = {"cuda": Cuda, "cpu": Cpu}


# --- values ---------------------------------------------------------------------------------------


def scattered(count, seed, place):
    """Numbers that differ from place to place and from seed to seed (multiplicative hash)."""
    return torch.arange(count, dtype=torch.int32, device=place) * -1640531535 + seed * 7919


PATTERNS = (
    scattered,
    lambda count, seed, place: torch.zeros(count, dtype=torch.int32, device=place),
    lambda count, seed, place: torch.full((count,), -1, dtype=torch.int32, device=place),
    lambda count, seed, place: torch.full((count,), 0x55555555, dtype=torch.int32, device=place),
)


def straight(there, here):
    """Contiguous on both sides: the copy engine moves it."""
    return there, here


def sideways(there, here):
    """Rows into columns: a kernel moves it, which reaches into the other card's memory itself."""
    side = int(here.numel() ** 0.5)
    square = slice(0, side * side)
    return there[square].view(side, side).t(), here[square].view(side, side)


CHECKS = (*((make, straight) for make in PATTERNS), (scattered, sideways))


def check_way(device, source, target, count, seed):
    """How many numbers arrived wrong, how many were never touched, and of how many."""
    wrong = untouched = total = 0
    for n, (make, shape) in enumerate(CHECKS):
        here, wanted = make(count, seed + n, source), make(count, seed + n, target)
        before = ~wanted  # differs from what is sent in every bit
        there, sent = shape(before.clone(), here)
        device.sync(source, target)
        device.copy(there, sent)
        device.sync(source, target)
        old, right = shape(before, wanted)
        wrong += int((there != right).sum())
        untouched += int((there == old).sum())
        total += there.numel()
    return wrong, untouched, total


# --- measurements ---------------------------------------------------------------------------------


def rate(device, lanes, actions, size, seconds):
    """GB/s of each lane while all of them copy: batches grow until they last long enough."""
    times = 2
    places = [place for lane in lanes for place in (lane.source, lane.target)]
    while True:
        device.sync(*places)
        for lane, action in zip(lanes, actions, strict=True):
            lane.run(action, times)
        device.sync(*places)
        took = [lane.seconds() for lane in lanes]
        if min(took) >= seconds or times >= 1 << 16:
            return [size * times / t / 1e9 for t in took]
        times = min(1 << 16, max(times * 2, int(times * seconds * 1.2 / max(min(took), 1e-6))))


def measure_pair(report, device, first, second, options):
    source, target = device.place(first), device.place(second)
    count, size = options.size // 4, options.size // 4 * 4
    report(phase="asking for peer access", granted=device.granted(source, target))
    report(phase="checking values")
    wrong, untouched, total = check_way(device, source, target, count, 100 * first + second)
    report(moved=untouched < total, values_ok=wrong == 0, wrong_share=wrong / total)
    here, there = scattered(count, 1, source), scattered(count, 2, target)
    into_here, into_there = torch.empty_like(here), torch.empty_like(there)
    way, back = device.lane(source, target), device.lane(target, source)
    report(phase="one way")
    forth = lambda: device.copy(into_there, here)  # noqa: E731
    (gb_s,) = rate(device, [way], [forth], size, options.seconds)
    report(one_way_gb_s=gb_s, phase="latency")
    small, far = here[:4], into_there[:4]
    found = device.latencies(lambda: device.copy(far, small), (source, target), 200)[20:]
    report(latency_us=statistics.fmean(found), worst_latency_us=max(found), phase="both ways")
    both = rate(
        device, [way, back], [forth, lambda: device.copy(into_here, there)], size, options.seconds
    )
    report(two_way_gb_s=sum(both), phase="through the host on purpose")
    middle = device.host_buffer(here)

    def detour():
        device.copy(middle, here)
        device.copy(into_there, middle)

    (gb_s,) = rate(device, [way], [detour], size, options.seconds)
    report(staged_gb_s=gb_s, phase="checking values again")
    wrong, untouched, total = check_way(device, source, target, count, 7 * first + second + 1)
    if wrong:
        report(moved=untouched < total, values_ok=False, wrong_share=wrong / total)


def measure_pattern(report, device, copies, options):
    count, size = options.size // 4, options.size // 4 * 4
    lanes, actions, checks = [], [], []
    for n, (first, second) in enumerate(copies):
        source, target = device.place(first), device.place(second)
        here, there = scattered(count, n, source), ~scattered(count, n, target)
        lanes.append(device.lane(source, target))
        actions.append(lambda there=there, here=here: device.copy(there, here))
        checks.append((there, target, n))
    report(each_gb_s=rate(device, lanes, actions, size, options.seconds))
    wrong = sum(int((there != scattered(count, n, place)).sum()) for there, place, n in checks)
    report(values_ok=wrong == 0)


def check_sums(dist, place, rank, ranks, count, types):
    """Whether sums over all ranks are exact: whole numbers that every type holds exactly."""
    for kind in types:
        base = torch.arange(count, device=place) % 3 + 1
        values = (base * (rank + 1)).to(kind)
        dist.all_reduce(values)
        if not torch.equal(values, (base * (ranks * (ranks + 1) // 2)).to(kind)):
            return False
    return True


def measure_rank(report, device, rank, cards, meeting, peer, options):
    os.environ.pop("NCCL_P2P_DISABLE", None)
    if not peer:
        os.environ["NCCL_P2P_DISABLE"] = "1"
    os.environ.update(NCCL_SOCKET_IFNAME="lo", GLOO_SOCKET_IFNAME="lo")
    import torch.distributed as dist

    place, ranks = device.place(cards[rank]), len(cards)
    if device.kind == "cuda":
        torch.cuda.set_device(place)
    limit = datetime.timedelta(seconds=options.limit_s)
    report(phase="joining")
    dist.init_process_group(
        device.backend, init_method=f"file://{meeting}", rank=rank, world_size=ranks, timeout=limit
    )
    types = (torch.float32, torch.bfloat16) if device.kind == "cuda" else (torch.float32,)
    report(phase="checking values")
    sizes = (1, 257, 65536, options.size // 4)
    report(values_ok=all(check_sums(dist, place, rank, ranks, n, types) for n in sizes))
    report(phase="own work")
    report(ready_ms=statistics.median([timed(device, place, device.work, place) for _ in range(7)]))
    for name, count, times in (("small_us", 4096, 50), ("large_us", options.size // 4, 10)):
        report(phase=name)
        values = torch.ones(count, device=place)
        for _ in range(3):
            dist.all_reduce(values)
        dist.barrier()

        def repeat(values=values, times=times):
            for _ in range(times):
                dist.all_reduce(values)

        report(**{name: timed(device, place, repeat) * 1e3 / times})
    dist.destroy_process_group()


def timed(device, place, action, *args):
    """Milliseconds."""
    device.sync(place)
    begun = time.perf_counter()
    action(*args)
    device.sync(place)
    return (time.perf_counter() - begun) * 1e3


def burn(report, device, index, options):
    """Multiplies the same matrices over and over, copies to and from the host, compares."""
    place, side = device.place(index), device.matrix
    kind = torch.bfloat16 if device.kind == "cuda" else torch.float32
    torch.manual_seed(index)
    a, b = (torch.randn(side, side, device=place).to(kind) for _ in range(2))
    wanted = a @ b
    outside = device.host_buffer(a)
    begun = time.monotonic()
    wrong = 0
    while (now := time.monotonic()) < begun + options.burn_s:
        rounds = 0
        until = min(now + 5, begun + options.burn_s)
        while time.monotonic() < until:
            for _ in range(20):
                found = a @ b
            device.copy(outside, a)
            device.copy(a, outside)
            device.sync(place)
            wrong += int((found != wanted).sum())
            rounds += 20
        took = time.monotonic() - now
        report(tflops=rounds * 2 * side**3 / took / 1e12, wrong=wrong, at_s=round(now - begun, 1))


# --- what is run ----------------------------------------------------------------------------------


def run_pairs(device, uuids, options):
    for first in range(len(uuids)):
        for second in range(len(uuids)):
            if first == second:
                continue
            (found,) = collect([Job(measure_pair, device, first, second, options)], options.limit_s)
            say("pair", source=uuids[first], target=uuids[second], **found)


def run_pattern(device, uuids, name, copies, options):
    (found,) = collect([Job(measure_pattern, device, copies, options)], options.limit_s)
    say("pattern", name=name, copies=[[uuids[a], uuids[b]] for a, b in copies], **found)


def run_all_reduce(device, uuids, service, cards, peer, options):
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"{folder}/meeting"
        jobs = [
            Job(measure_rank, device, rank, cards, meeting, peer, options)
            for rank in range(len(cards))
        ]
        ranks = collect(jobs, options.limit_s, together=True)
    record = {"ended": "measured", "error": ""}
    for ended in ("hang", "error"):  # a rank that failed is why the others hang
        found = [(n, rank) for n, rank in enumerate(ranks) if rank["ended"] == ended]
        if found:
            words = [f"rank {n}, {r.get('phase', 'start')}: {r['error']}" for n, r in found]
            record = {"ended": ended, "error": "; ".join(words)[:500]}
    known = [rank["values_ok"] for rank in ranks if "values_ok" in rank]
    if known:
        record["values_ok"] = all(known)
        record["wrong_ranks"] = [n for n, r in enumerate(ranks) if r.get("values_ok") is False]
    if all("ready_ms" in rank for rank in ranks):
        record["ready_ms"] = [rank["ready_ms"] for rank in ranks]
    if all("large_us" in rank for rank in ranks):
        size = options.size // 4 * 4
        algbw = size / max(rank["large_us"] for rank in ranks) / 1e3
        record.update(
            algbw_gb_s=algbw,
            busbw_gb_s=algbw * 2 * (len(cards) - 1) / len(cards),
            latency_us=max(rank["small_us"] for rank in ranks),
        )
    say(
        "all-reduce",
        service=service,
        gpus=[uuids[card] for card in cards],
        peer_to_peer=peer,
        bytes=options.size,
        **record,
    )


def run_burn(device, uuids, options):
    jobs = [Job(burn, device, index, options) for index in range(len(uuids))]
    places = {job.pid: uuids[n] for n, job in enumerate(jobs)}

    def hear(job, fields):
        if "tflops" in fields:
            say("work", uuid=places[job.pid], **fields)

    found = collect(jobs, options.burn_s + options.limit_s, hear)
    for uuid, fields in zip(uuids, found, strict=True):
        if fields["ended"] != "measured":
            say("work", uuid=uuid, ended=fields["ended"], error=fields["error"])


def numbers(text):
    return [int(word) for word in text.split(",")]


def read_options(argv):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--uuids", required=True, help="cards, by commas; they are 0, 1, 2 … below")
    parser.add_argument("--device", choices=sorted(DEVICES), default="cuda")
    parser.add_argument("--pairs", action="store_true", help="every ordered pair")
    parser.add_argument("--pattern", action="append", default=[], metavar="NAME=0-1,2-3")
    parser.add_argument("--all-reduce", metavar="SERVICE=0,1,2,3")
    parser.add_argument("--without-peer", action="store_true", help="all-reduce: not peer to peer")
    parser.add_argument("--burn-s", type=float, default=0, help="seconds of work on all cards")
    parser.add_argument("--limit-s", type=float, default=60, help="of one measurement")
    parser.add_argument("--seconds", type=float, default=0.3, help="of copying per figure")
    parser.add_argument("--size", type=int, default=64 << 20, help="bytes of one copy")
    return parser.parse_args(argv)


def main(argv):
    global torch
    options = read_options(argv)
    uuids = options.uuids.split(",")
    signal.signal(signal.SIGTERM, end_all)
    signal.signal(signal.SIGINT, end_all)
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if options.device == "cuda":
        os.environ["CUDA_VISIBLE_DEVICES"] = options.uuids  # device n is the n-th of them
    try:
        import torch
    except ImportError as problem:
        say("error", error=f"this image has no torch: {problem}")
        return 3
    device = DEVICES[options.device]
    if device.kind == "cpu":
        torch.set_num_threads(1)  # many processes share the cores
    (found,) = collect(
        [Job(lambda report: report(names=device.names(len(uuids))))], options.limit_s
    )
    if found["ended"] != "measured":
        say("error", error=f"the cards do not answer: {found['error']}")
        return 3
    cards = [{"uuid": uuid, "name": name} for uuid, name in zip(uuids, found["names"], strict=True)]
    say("begin", device=device.kind, torch=torch.__version__, cards=cards)
    if options.pairs:
        run_pairs(device, uuids, options)
    for pattern in options.pattern:
        name, _, copies = pattern.partition("=")
        pairs = [tuple(int(end) for end in copy.split("-")) for copy in copies.split(",")]
        run_pattern(device, uuids, name, pairs, options)
    if options.all_reduce:
        service, _, cards = options.all_reduce.partition("=")
        run_all_reduce(device, uuids, service, numbers(cards), not options.without_peer, options)
    if options.burn_s:
        run_burn(device, uuids, options)
    say("end")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
