#!/usr/bin/env python3
"""Runs the tests of the kernels on a CPU that this machine does not have: on one with AVX-512, which Bochs emulates.

    python3 tools/emulated_cpu.py --bochs BOCHS --kernel VMLINUZ [--cpu tigerlake] [--env NAME=VALUE] [TEST...]

BOCHS is the program and beside it, in bios/, what it begins with: a checkout of github.com/bochs-emu/Bochs, made with
`./configure --enable-x86-64 --enable-cpu-level=6 --enable-avx --enable-evex --enable-all-optimizations --enable-pci
--with-nogui --disable-plugins && make`. VMLINUZ is any Linux kernel, as /boot has it or a package of the distribution.
Besides, Debian's cpio, xorriso, isolinux, syslinux-common and busybox-static are needed. All tests take five minutes, as
there are 100 million instructions a second.

Exits with 1 if a test fails or the machine does not come to its end. (Not with the CPU sapphire_rapids: what Bochs makes
of VDPBF16PS is not what such CPUs do, which a test notices.)
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
{env} /tests --test-threads=1 {tests} && /bin/busybox echo {passed}
/bin/busybox echo {end}
/bin/busybox sleep 1000
"""

# Without these two flags, the kernel does not copy by instructions that Bochs gets wrong.
KERNEL = "initrd=/initrd console=ttyS0 quiet mitigations=off nokaslr panic=1 clearcpuid=fsrm,erms"

BOOT = "DEFAULT tests\nPROMPT 0\nLABEL tests\n KERNEL /vmlinuz\n APPEND {kernel}\n"

MACHINE = """display_library: nogui
megs: 1024
romimage: file={bios}/BIOS-bochs-latest
vgaromimage: file={bios}/VGABIOS-lgpl/VGABIOS-lgpl-latest.bin
cpu: model={cpu}, count=1, ips=200000000, reset_on_triple_fault=0
ata0-master: type=cdrom, path={image}, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={serial}
clock: sync=none
log: {log}
panic: action=fatal
error: action=ignore
"""

PASSED, END = "every test passed", "this is the end"


def test_program():
    """The program with the library's tests, built."""
    command = ["cargo", "test", "--release", "-p", "pumice", "--lib", "--no-run", "--message-format=json"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    programs = [json.loads(line).get("executable") for line in lines if line.startswith("{")]
    return Path(next(program for program in programs if program))


def file_system(root, program, tests, env):
    """What the machine has: the tests, the libraries that they need, and a first program that runs them."""
    for folder in ("bin", "proc", "dev", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    subprocess.run(["strip", "-o", root / "tests", program], check=True)
    for word in subprocess.run(["ldd", program], check=True, stdout=subprocess.PIPE, text=True).stdout.split():
        if word.startswith("/"):
            to = root / word.lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(word, to)
    (root / "init").write_text(INIT.format(env=" ".join(env), tests=" ".join(tests), passed=PASSED, end=END))
    (root / "init").chmod(0o755)


def boot_image(folder, root, kernel):
    """A compact disc that starts the kernel with this file system."""
    disc = folder / "disc"
    (disc / "isolinux").mkdir(parents=True)
    shutil.copy("/usr/lib/ISOLINUX/isolinux.bin", disc / "isolinux")
    shutil.copy("/usr/lib/syslinux/modules/bios/ldlinux.c32", disc / "isolinux")
    (disc / "isolinux/isolinux.cfg").write_text(BOOT.format(kernel=KERNEL))
    shutil.copy(kernel, disc / "vmlinuz")
    with open(disc / "initrd", "wb") as archive:
        names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
        command = ["cpio", "--create", "--format=newc", "--quiet"]
        subprocess.run(command, input=names.encode(), stdout=archive, cwd=root, check=True)
    image = folder / "disc.iso"
    boot = ["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"]
    boot += ["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", image, *boot, disc], check=True)
    return image


def run(bochs, machine, serial, seconds):
    """Prints what the machine says until its end, or that of the time. Whether every test passed."""
    deadline, said = time.monotonic() + seconds, ""
    emulator = subprocess.Popen([bochs, "-q", "-f", machine], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while END not in said and time.monotonic() < deadline and emulator.poll() is None:
            time.sleep(1)
            now = serial.read_text(errors="replace") if serial.exists() else ""
            print(now[len(said) :], end="", flush=True)
            said = now
    finally:
        emulator.kill()
        emulator.wait()
    return PASSED in said


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bochs", type=Path, required=True, help="the emulator")
    parser.add_argument("--kernel", type=Path, required=True, help="a Linux kernel")
    parser.add_argument("--cpu", default="tigerlake", help="the CPU, by the emulator's name (tigerlake)")
    parser.add_argument("--env", action="append", default=[], help="a variable of the tests' environment")
    parser.add_argument("--seconds", type=int, default=3600, help="when to give up (3600)")
    parser.add_argument("tests", nargs="*", default=["cpu::"], help="which tests, by parts of their names (cpu::)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        file_system(folder / "root", test_program(), args.tests, args.env)
        image, serial = boot_image(folder, folder / "root", args.kernel), folder / "serial"
        bios = args.bochs.resolve().parent / "bios"
        machine = folder / "machine"
        machine.write_text(MACHINE.format(bios=bios, cpu=args.cpu, image=image, serial=serial, log=folder / "log"))
        passed = run(args.bochs.resolve(), machine, serial, args.seconds)
    if not passed:
        sys.exit(f"not every test passed on {args.cpu}")


if __name__ == "__main__":
    main()
