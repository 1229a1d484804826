"""Boot a throw-away guest with real DAX, run one command in it, or kill it.

QEMU emulates everything (TCG), so no /dev/kvm is needed.  The guest's kernel is Debian's; its
root is the host's own, read-only over 9p below an overlay on tmpfs: the same paths, the same
Python, the same virtual environment.  ``/mnt/share`` is a directory of the host, written through
at once, so what the guest has said there is known also when it is killed.

An NVDIMM is a file that QEMU maps.  SIGKILL of QEMU leaves in it what a power cut would leave on
a device whose caches are kept; what the guest's kernel had not written yet is gone.  TCG has no
model of CPU caches, so a missing flush is not found here (that is the crash explorer's work); a
missing MAP_SYNC, fsync or commit of metadata is.
"""

from __future__ import annotations

import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from machines import Machine, make_image

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("PMEMSTORE_DAXVM_CACHE") or ROOT / "build" / "daxvm")
#: Part of the cache's name: another number where another kernel or initramfs is wanted.
CACHE_VERSION = 1
SHARE = "/mnt/share"
MEMORY_MIB = 1024

#: Program, and the Debian package that has it.
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "depmod": "kmod",
    "cpio": "cpio",
    "mkfs.ext4": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "dpkg-deb": "dpkg",
    "gcc": "gcc",
}

MODULES = ["virtio_pci", "virtio_blk", "9p", "9pnet_virtio", "overlay"]
MODULES += ["libnvdimm", "nfit", "nd_pmem", "ext4"]
#: Loaded where a machine has use for them.
LAZY_MODULES = ["xfs", "btrfs", "virtio_pmem"]
#: What a module asks for at run time, unknown to modules.dep.
SOFT_DEPENDENCIES = {
    "ext4": ["crc32c_generic"],
    "xfs": ["crc32c_generic"],
    "btrfs": ["crc32c_generic", "xxhash_generic"],
}

# 9p without a cache for what both sides write; the root never changes, so it may be cached.
INIT = r"""#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc p /proc; $B mount -t sysfs s /sys; $B mount -t devtmpfs d /dev
load() {
    for m in $($B cat /order/$1); do
        [ -e /done/$m ] || { $B insmod /modules/$m && $B touch /done/$m; }
    done
}
load base
nine=trans=virtio,version=9p2000.L,msize=512000
$B mount -t 9p -o $nine,cache=loose,ro hostroot /lower
$B mount -t tmpfs t /rw; $B mkdir /rw/u /rw/w
$B mount -t overlay -o lowerdir=/lower,upperdir=/rw/u,workdir=/rw/w,xino=off root /new
$B mkdir -p /new/mnt/share /new/run /new/dev/shm
$B mount -t 9p -o $nine,cache=none share /new/mnt/share
for m in $($B cat /new/mnt/share/.vm/modules); do load $m; done
for d in proc sys dev; do $B mount --move /$d /new/$d; done
$B mkdir -p /new/dev/shm /new/dev/pts
$B mount -t tmpfs t /new/dev/shm; $B mount -t devpts t /new/dev/pts
$B mount -t tmpfs t /new/run
exec $B chroot /new /bin/sh /mnt/share/.vm/boot
"""

# The end: QEMU's isa-debug-exit is quicker than switching off.
BOOT = r"""
rc=
cd /mnt/share/.vm
ip link set lo up 2>/dev/null
mkdir /run/home
while read device dir kind options; do
    mkdir -p $dir
    mount -t $kind -o $options $device $dir 2>> stderr || rc=125
done < fstab
cut -d' ' -f1 /proc/uptime > ready
if [ -z "$rc" ]; then
    setsid /bin/sh command < /dev/null >> stdout 2>> stderr
    rc=$?
fi
dmesg > dmesg
awk '$2 ~ "^/mnt/" && $2 != "/mnt/share" {print $2}' /proc/mounts | sort -r |
    while read dir; do umount $dir 2>/dev/null || umount -l $dir; done
sync
echo $rc > rc.new && mv rc.new rc
printf '\0' | dd of=/dev/port bs=1 seek=244 conv=notrunc 2>/dev/null
busybox poweroff -f
"""


class GuestError(Exception):
    """The guest did not do what it was started for."""


# ---- what must be installed --------------------------------------------------------------


def missing_packages() -> list[str]:
    """Debian packages of programs that are not there."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return sorted({p for name, p in PROGRAMS.items() if not shutil.which(name, path=path)})


def require_programs() -> None:
    """Say what to install, if something is missing.

    Raises:
        GuestError: It is.
    """
    if missing := missing_packages():
        raise GuestError(
            f"missing: {', '.join(missing)}. Install with: apt-get install {' '.join(missing)}"
        )
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


# ---- kernel and initramfs ----------------------------------------------------------------


def build() -> Path:
    """Return the directory with ``kernel`` and ``initrd``; made if it is not there.

    The kernel is the package that linux-image-amd64 depends on, fetched by apt-get, or the .deb
    that PMEMSTORE_DAXVM_KERNEL names.
    """
    require_programs()
    done = CACHE / f"boot-{CACHE_VERSION}"
    if done.exists():
        return done
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        scratch = Path(name)
        package = os.environ.get("PMEMSTORE_DAXVM_KERNEL") or str(fetch_kernel(scratch))
        tree = scratch / "tree"
        _run("dpkg-deb", "-x", package, str(tree))
        modules = next((tree / "lib/modules").iterdir())
        _run("depmod", "-b", str(tree), modules.name)
        made = scratch / "boot"
        made.mkdir()
        image = (tree / f"boot/vmlinuz-{modules.name}").read_bytes()
        (made / "kernel").write_bytes(unpacked_kernel(image) or image)
        (made / "initrd").write_bytes(make_initrd(scratch / "initrd", modules))
        made.rename(done)
    return done


def fetch_kernel(folder: Path) -> Path:
    text = _run("apt-cache", "depends", "linux-image-amd64").stdout
    match = re.search(r"Depends: (linux-image-[0-9]\S+)", text)
    if match is None:
        raise GuestError(
            "apt knows no linux-image-amd64: run apt-get update, or download a Debian kernel "
            "package and name it in PMEMSTORE_DAXVM_KERNEL."
        )
    _run("apt-get", "download", "-o", "APT::Sandbox::User=root", match[1], cwd=folder)
    return next(folder.glob(f"{match[1]}_*.deb"))


def unpacked_kernel(image: bytes) -> bytes | None:
    """Return the ELF file inside a bzImage.

    QEMU boots it as it is; unpacking it in the guest takes 3 to 4 seconds.
    """

    def gunzip(data: bytes) -> bytes:
        return zlib.decompressobj(31).decompress(data)

    def unxz(data: bytes) -> bytes:
        return lzma.LZMADecompressor().decompress(data)

    for magic, unpack in ((b"\xfd7zXZ\0", unxz), (b"\x1f\x8b\x08", gunzip)):
        at = image.find(magic)
        while at >= 0:
            try:
                elf = unpack(image[at:])
            except (lzma.LZMAError, zlib.error):
                elf = b""
            if elf.startswith(b"\x7fELF"):
                return elf
            at = image.find(magic, at + 1)
    return None


def make_initrd(folder: Path, modules: Path) -> bytes:
    """Pack busybox, the modules and their order; not compressed, for gunzip is slow here."""
    for name in ["bin", "modules", "order", "done", "proc", "sys", "dev", "lower", "rw", "new"]:
        (folder / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "busybox", folder / "bin/busybox")
    needs: dict[str, tuple[str, list[str]]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        file, _, rest = line.partition(":")
        needs[_module(file)] = (file, rest.split())

    def in_order(module: str) -> list[str]:
        if module not in needs:
            return []  # built in
        file, below = needs[module]
        files = [one for soft in SOFT_DEPENDENCIES.get(module, ()) for one in in_order(soft)]
        for dependency in reversed(below):  # the file names the nearest first
            files += in_order(_module(dependency))
        return [*files, file]

    orders = {"base": [file for module in MODULES for file in in_order(module)]}
    orders.update({module: in_order(module) for module in LAZY_MODULES})
    for name, files in orders.items():
        unique = list(dict.fromkeys(files))
        (folder / "order" / name).write_text("".join(f"{Path(file).name}\n" for file in unique))
        for file in unique:
            to = folder / "modules" / Path(file).name
            if not to.exists():
                _run("objcopy", "--strip-debug", str(modules / file), str(to))
    init = folder / "init"
    init.write_text(INIT)
    init.chmod(0o755)
    names = subprocess.run(["find", "."], cwd=folder, check=True, capture_output=True).stdout
    pack = ["cpio", "-o", "-H", "newc", "--quiet"]
    return subprocess.run(pack, cwd=folder, input=names, check=True, capture_output=True).stdout


def _module(file: str) -> str:
    return Path(file).name.split(".ko")[0].replace("-", "_")


def _run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise GuestError(f"{shlex.join(command)}: {done.stderr.strip()}")
    return done


# ---- a guest -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What a command in the guest has left."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    ready_seconds: float


class Guest:
    """A machine that runs one command.  A context manager: at its end the machine is gone.

    Args:
        machine: What it is made of.
        state: A directory that keeps its images and what is shared with it; another guest on
            the same directory finds the file systems as this one left them.
        command: Run in the guest, in the directory ``cwd``.
        environment: For the command, besides PATH, HOME and LANG.
    """

    def __init__(
        self,
        machine: Machine,
        state: Path,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.machine = machine
        self.state = state.resolve()
        self.share = self.state / "share"
        self.share.mkdir(parents=True, exist_ok=True)
        self._vm = self.share / ".vm"
        self._write_job(command, dict(environment or {}), cwd)
        self._started = time.monotonic()
        errors = (self._vm / "qemu").open("wb")
        with errors:
            self._qemu = subprocess.Popen(
                self._qemu_command(build()),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    # ---- while it runs

    @property
    def alive(self) -> bool:
        return self._qemu.poll() is None

    def kill(self) -> None:
        """Pull the plug: SIGKILL, at whatever instruction the guest is."""
        self._qemu.kill()
        self._qemu.wait()

    def wait_for(self, file: str, text: str = "", timeout: float = 240) -> str:
        """Wait until a file in ``/mnt/share`` contains a text; return what it contains.

        Raises:
            GuestError: The guest has ended, or the time is over; the message has its output.
        """
        path = self.share / file
        deadline = time.monotonic() + timeout
        while True:
            alive = self.alive  # before looking: the last words count
            found = path.read_text() if path.exists() else None
            if found is not None and text in found:
                return found
            if not alive or time.monotonic() > deadline:
                what = "said nothing" if alive else "ended"
                raise GuestError(f"the guest {what}, waiting for {text!r} in {file}{self.story()}")
            time.sleep(0.005)

    def wait(self, timeout: float = 600, *, echo: bool = False) -> Result:
        """Wait for the end of the command.

        Args:
            timeout: Seconds.
            echo: Copy what it prints to our own stdout and stderr, as it comes.

        Raises:
            GuestError: The guest died without an exit status, or the time is over.
        """
        deadline = time.monotonic() + timeout
        seen = [0, 0]
        while self.alive and time.monotonic() < deadline:
            if echo:
                self._echo(seen)
            time.sleep(0.02)
        timed_out = self.alive
        self.kill()
        if echo:
            self._echo(seen)
        seconds = time.monotonic() - self._started
        code = self._read("rc").strip()
        if timed_out or not code:
            raise GuestError(f"no end after {timeout} s" if timed_out else f"it died{self.story()}")
        return Result(
            code=int(code),
            stdout=self._read("stdout"),
            stderr=self._read("stderr"),
            seconds=seconds,
            ready_seconds=float(self._read("ready") or "nan"),
        )

    def story(self) -> str:
        """Return the ends of everything that was said, for messages."""
        parts = []
        for name in ("stdout", "stderr", "console", "qemu"):
            if text := self._read(name).strip():
                parts.append(f"\n---- {name}:\n{text[-2000:]}")
        return "".join(parts)

    def _echo(self, seen: list[int]) -> None:
        for i, (name, out) in enumerate((("stdout", sys.stdout), ("stderr", sys.stderr))):
            with (self._vm / name).open("rb") as file:
                file.seek(seen[i])
                data = file.read()
            seen[i] += len(data)
            out.write(data.decode(errors="replace"))
            out.flush()

    def _read(self, name: str) -> str:
        path = self._vm / name
        return path.read_text(errors="replace") if path.exists() else ""

    # ---- its parts

    def _write_job(self, command: Sequence[str], environment: dict[str, str], cwd: Path) -> None:
        shutil.rmtree(self._vm, ignore_errors=True)
        self._vm.mkdir()
        variables = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        variables |= {"HOME": "/run/home", "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
        variables |= environment
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        lines.append(f"cd {shlex.quote(str(cwd))} || exit 126\nexec {shlex.join(command)}\n")
        (self._vm / "command").write_text("".join(lines))
        (self._vm / "boot").write_text(BOOT)
        for name in ("stdout", "stderr"):
            (self._vm / name).touch()

    def _qemu_command(self, boot: Path) -> list[str]:
        devices, mounts, modules = self._devices()
        (self._vm / "fstab").write_text("".join(f"{line}\n" for line in mounts))
        (self._vm / "modules").write_text("".join(f"{name}\n" for name in modules))
        nine = "security_model=none,multidevs=remap"
        machine = "q35,nvdimm=on"
        if self.machine.persistence:
            machine += f",nvdimm-persistence={self.machine.persistence}"
        room = MEMORY_MIB + 4096 + sum(disk.mib for disk in self.machine.disks)
        kernel_line = "console=ttyS0 loglevel=4 panic=-1 mitigations=off nokaslr "
        kernel_line += "cryptomgr.notests tsc=reliable nowatchdog audit=0 "
        # On a busy host a timer tick comes too late for the kernel's check at boot, and it panics.
        kernel_line += "no_timer_check"
        return [
            *["qemu-system-x86_64", "-machine", machine, "-accel", "tcg", "-cpu", self.machine.cpu],
            *["-smp", "1", "-m", f"{MEMORY_MIB}M,slots=8,maxmem={room}M"],
            *["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
            *["-bios", "qboot.rom", "-kernel", str(boot / "kernel")],
            *["-initrd", str(boot / "initrd"), "-append", kernel_line],
            *["-serial", f"file:{self._vm}/console"],
            *["-device", "isa-debug-exit,iobase=0xf4,iosize=4"],
            *["-virtfs", f"local,path=/,mount_tag=hostroot,readonly=on,{nine}"],
            *["-virtfs", f"local,path={self.share},mount_tag=share,{nine}"],
            *devices,
        ]

    def _devices(self) -> tuple[list[str], list[str], list[str]]:
        """Return arguments for QEMU, lines for fstab, modules to load."""
        devices: list[str] = []
        mounts = ["tmpfs /mnt/tmpfs tmpfs size=50%"]
        modules: list[str] = []
        pmem = 0
        for disk in self.machine.disks:
            image = self.state / f"{disk.name}.img"
            make_image(image, disk)
            if disk.device == "virtio-blk":
                devices += _block_device(disk.name, image, disk.logged)
            else:
                name = f"memory{pmem}"
                memory = f"memory-backend-file,id={name},share=on,mem-path={image}"
                driver = "nvdimm" if disk.device == "nvdimm" else "virtio-pmem-pci"
                devices += ["-object", f"{memory},size={disk.mib}M"]
                devices += ["-device", f"{driver},id={driver}{pmem},memdev={name}"]
                pmem += 1
            # By UUID: the kernel numbers its pmem devices as they turn up.
            mounts.append(f"UUID={disk.uuid} /mnt/{disk.name} {disk.kind} {disk.options}")
            modules += [m for m in (disk.kind,) if m in LAZY_MODULES]
            modules += ["virtio_pmem"] if disk.device == "virtio-pmem" else []
        return devices, mounts, list(dict.fromkeys(modules))


def _block_device(name: str, image: Path, logged: bool) -> list[str]:
    file = f"driver=file,filename={image}"
    node = f"driver=raw,node-name={name},file.driver=file,file.filename={image}"
    if not logged:
        return ["-blockdev", node, "-device", f"virtio-blk-pci,drive={name}"]
    log = image.with_suffix(".log")
    log.write_bytes(b"")
    return [
        *["-blockdev", f"{file},node-name=file-{name}"],
        *["-blockdev", f"driver=raw,node-name=raw-{name},file=file-{name}"],
        *["-blockdev", f"driver=file,filename={log},node-name=log-file-{name}"],
        *["-blockdev", f"driver=raw,node-name=log-{name},file=log-file-{name}"],
        "-blockdev",
        f"driver=blklogwrites,node-name={name},file=raw-{name},log=log-{name},log-sector-size=512",
        *["-device", f"virtio-blk-pci,drive={name}"],
    ]


if __name__ == "__main__":
    # Once, before the tests: what is missing is one line then, and not one for each test.
    try:
        print(f"kernel and initramfs: {build()}")
    except GuestError as error:
        sys.exit(f"make daxvm: {error}")
