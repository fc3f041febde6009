#!/usr/bin/env python3
"""What other sizes of chunks and frames and other levels would cost: bytes and processor time, on both corpora.

    sizes.py CORPUS SCRATCH [--rounds 3] [VARIANT…]

Each variant is this repository's `package` with other constants, built in SCRATCH; nothing here is changed. Its indexes and
packs are of no format. docs/decisions/0015 reads the table."""
import argparse, os, re, resource, shutil, statistics, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCE = "workers/lib/package/src"


def chunks(log2):
    size = 1 << log2
    return {
        "limits.rs": [("CHUNK_BYTES_AVERAGE", size), ("CHUNK_BYTES_MIN", size // 16), ("CHUNK_BYTES_MAX", size * 4),
                      ("FRAME_RAW_BYTES_MAX", 4 << 20)],
        "chunker.rs": [("MASK_STRICT", f"MASKS[{log2}]"), ("MASK_LOOSE", f"MASKS[{log2 - 1}]"), ("== 1 << 16", f"== 1 << {log2}")],
    }


def frames(kib):
    return {"limits.rs": [("FRAME_RAW_BYTES_TARGET", kib << 10), ("FRAME_RAW_BYTES_MAX", 4 << 20)]}


def level(level):
    return {"frame.rs": [("LEVEL", level)]}


VARIANTS = {
    "as it is: chunks 64 KiB, frames 256 KiB, level 3": {},
    "chunks 16 KiB": chunks(14),
    "chunks 32 KiB": chunks(15),
    "chunks 128 KiB": chunks(17),
    "frames 64 KiB": frames(64),
    "frames 128 KiB": frames(128),
    "frames 512 KiB": frames(512),
    "frames 1 MiB": frames(1024),
    "level 1": level(1),
    "level 2": level(2),
    "level 4": level(4),
    "level 6": level(6),
}


def run(*command, **more):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **more).stdout


def change(tree, edits):
    for file, constants in edits.items():
        path = f"{tree}/{SOURCE}/{file}"
        text = open(path).read()
        for name, value in constants:
            if name.startswith("=="):
                text, count = text.replace(name, value), text.count(name)
            else:
                text, count = re.subn(rf"(const {name}: \w+ = )[^;]+;", rf"\g<1>{value};", text)
            if count != 1:
                sys.exit(f"{path}: {name} is there {count} times")
        open(path, "w").write(text)


def number(pattern, text):
    return int(re.search(pattern, text).group(1))


def timed(*command):
    """Output, and the processor time, which a busy machine changes little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = run(*command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return text, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(programs, corpus, name, scratch, rounds):
    times = {"v1": [], "v2": []}
    for _ in range(rounds):
        out = {version: f"{scratch}/out-{version}" for version in times}
        for folder in out.values():
            shutil.rmtree(folder, ignore_errors=True)
        first, cpu = timed(f"{programs}/build_tree", f"{corpus}/{name}-v1", out["v1"])
        times["v1"].append(cpu)
        second, cpu = timed(f"{programs}/build_tree", f"{corpus}/{name}-v2", out["v2"], f"{out['v1']}/index")
        times["v2"].append(cpu)
    patched, making = timed(f"{programs}/patch_tree", out["v1"], out["v2"])
    return {
        "v1": statistics.median(times["v1"]),
        "stored": number(r"(\d+) bytes stored", first),
        "index": number(r"index (\d+) of", first),
        "v2": statistics.median(times["v2"]),
        "new": number(r"(\d+) new", second),
        "making": making,
        "patch": number(r"frames: (\d+) bytes", patched) + number(r"index: (\d+) bytes", patched),
    }


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("corpus")
    args.add_argument("scratch")
    args.add_argument("variants", nargs="*", metavar="VARIANT")
    args.add_argument("--rounds", type=int, default=3)
    args = args.parse_args()
    os.makedirs(args.scratch, exist_ok=True)
    print("| variant | corpus | v1, s of a core | stored, MB | index, MB | v2 read again, s of a core | new, MB | patches, MB | making and applying them, s of a core |\n|---|---|---|---|---|---|---|---|---|", flush=True)
    for variant in args.variants or VARIANTS:
        tree = f"{args.scratch}/tree"
        shutil.rmtree(tree, ignore_errors=True)
        os.makedirs(tree)
        subprocess.run(f"git -C '{ROOT}' archive HEAD | tar -xm -C '{tree}'", shell=True, check=True)
        change(tree, VARIANTS[variant])
        target = f"{args.scratch}/target"
        run("cargo", "build", "--release", "--quiet", "-p", "package", "--examples", cwd=tree, env=os.environ | {"CARGO_TARGET_DIR": target})
        for name in ["small", "large"]:
            found = measure(f"{target}/release/examples", args.corpus, name, args.scratch, args.rounds)
            mb = {key: f"{value / 1e6:.2f}" for key, value in found.items() if key not in ("v1", "v2", "making")}
            print(f"| {variant} | {name} | {found['v1']:.2f} | {mb['stored']} | {mb['index']} | {found['v2']:.2f} | {mb['new']} | {mb['patch']} | {found['making']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
