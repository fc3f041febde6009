#!/usr/bin/env python3
"""Makes trees that are not the corpora, each as NAME-v1 and NAME-v2, the same for the same seed.

    trees.py OUT [NAME ...] [--seed N]          all of them without names
    trees.py OUT --files 100000                 files-100000-v1 and -v2: small files, for growth by number
    trees.py OUT --gib 10                       gib-10-v1 and -v2: files of 256 MiB, for growth by size; text but for a sixteenth

source    sources of the Rust packages in the cargo home, as a kernel's tree would be: 30,000 files
modules   what a JavaScript package manager makes: 40,000 tiny files in deep folders, links to programs
images    three sparse disk images, 2 GiB long, 256 MiB of each written; v2 has 300 blocks written anew
media     600 MB that no compressor shrinks; v2 has two files renamed, one added
empty     30,000 empty files in 300 folders
"""
import argparse, hashlib, multiprocessing, os, random, shutil, subprocess, sys

KIB, MIB = 1 << 10, 1 << 20
WORDS = [hashlib.sha256(str(n).encode()).hexdigest()[: 3 + n % 9] for n in range(4000)]
# A byte names a word: text that is made fast, and that zstd shrinks to a sixth.
SHORT_LIST = [hashlib.sha256(str(n).encode()).hexdigest()[: 4 + n % 16].encode() for n in range(256)]


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def text(size):
    words = []
    while size > 0:
        word = random.choice(WORDS)
        size -= len(word) + 1
        words.append(word)
    return " ".join(words).encode()


def edit_some(root, share=0.02):
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
    files = [path for path in files if not os.path.islink(path)]
    for number, path in enumerate(random.sample(files, max(1, int(len(files) * share)))):
        if number % 10 == 9:
            os.remove(path)
            continue
        content = open(path, "rb").read()
        at = random.randrange(len(content) + 1)
        os.remove(path)
        write(path, content[:at] + b"\nedited %d\n" % random.randrange(10**9) + content[at:])


def source(root):
    home = os.path.join(os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo")), "registry", "src")
    count = 0
    for folder, dirs, names in os.walk(home):
        dirs.sort()
        for name in sorted(names):
            if count < 30000 and name.endswith((".rs", ".c", ".h", ".S", ".md", ".toml", ".txt", ".py")):
                path = os.path.join(folder, name)
                place = os.path.join(root, *os.path.relpath(path, home).split(os.sep)[1:])
                os.makedirs(os.path.dirname(place), exist_ok=True)
                shutil.copy2(path, place)
                count += 1


def modules(root):
    for package in range(2000):
        place = f"{root}/node_modules/" + "/node_modules/".join(f"p{(package * k) % 997}-{package}" for k in range(1, 2 + package % 3))
        for number in range(20):
            write(f"{place}/lib/{'/'.join(WORDS[number:number + number % 4])}/m{number}.js", text(200 + random.randrange(2500)))
        write(f"{place}/package.json", text(600))
        os.makedirs(f"{root}/node_modules/.bin", exist_ok=True)
        os.symlink(os.path.relpath(f"{place}/lib/m0.js", f"{root}/node_modules/.bin"), f"{root}/node_modules/.bin/p{package}")


def write_blocks(path, blocks, size):
    with open(path, "r+b") as file:
        for _ in range(blocks):
            file.seek(random.randrange(2048 * MIB // (4 * KIB) - size // (4 * KIB)) * 4 * KIB)
            file.write(text(size // 2).ljust(size // 2)[: size // 2] + random.randbytes(size // 2))


def images(root):
    os.makedirs(root)
    for number in range(3):
        with open(f"{root}/disk{number}.img", "wb") as file:
            file.truncate(2048 * MIB)
        write_blocks(f"{root}/disk{number}.img", 256, MIB)


def images_v2(root):
    for name in sorted(os.listdir(root)):
        write_blocks(f"{root}/{name}", 100, 32 * KIB)


def media(root):
    for number in range(60):
        write(f"{root}/film{number:02}.mkv", random.randbytes(10 * MIB))


def media_v2(root):
    os.rename(f"{root}/film03.mkv", f"{root}/renamed3.mkv")
    os.rename(f"{root}/film07.mkv", f"{root}/renamed7.mkv")
    write(f"{root}/new.mkv", random.randbytes(10 * MIB))


def empty(root):
    for number in range(30000):
        write(f"{root}/d{number % 300:03}/f{number:05}", b"")


def empty_v2(root):
    for number in range(0, 30000, 100):
        os.remove(f"{root}/d{number % 300:03}/f{number:05}")
        write(f"{root}/d{number % 300:03}/g{number:05}", b"")


def many_files(count):
    def make(root):
        for number in range(count):
            write(f"{root}/{number // 10000:03}/{number // 100 % 100:02}/f{number:07}.txt", b"%d\n" % number + text(300 + number % 1700))
    return make


def write_part(path, seed):
    own = random.Random(seed)
    with open(path, "wb") as file:
        for number in range(256):
            words = map(SHORT_LIST.__getitem__, own.randbytes(MIB // 8))
            file.write(b" ".join(words)[:MIB] if number % 16 else own.randbytes(MIB))


def many_bytes(gib, seed):
    def make(root):
        os.makedirs(root)
        with multiprocessing.Pool() as pool:
            pool.starmap(write_part, [(f"{root}/part{n:03}", f"{seed} {n}") for n in range(gib * 4)], chunksize=1)
    return make


TREES = {
    "source": (source, edit_some),
    "modules": (modules, edit_some),
    "images": (images, images_v2),
    "media": (media, media_v2),
    "empty": (empty, empty_v2),
}


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("out")
    args.add_argument("names", nargs="*", metavar="NAME")
    args.add_argument("--seed", type=int, default=20261120)
    args.add_argument("--files", type=int)
    args.add_argument("--gib", type=int)
    args.add_argument("--v1-alone", action="store_true", help="no second version")
    args.add_argument("--edit", action="store_true", help="make OUT, a tree, its own second version")
    args = args.parse_args()
    if args.edit:
        random.seed(f"{args.seed} {os.path.basename(args.out)}")
        return edit_some(args.out)
    trees = {f"files-{args.files}": (many_files(args.files), edit_some)} if args.files else {}
    trees |= {f"gib-{args.gib}": (many_bytes(args.gib, args.seed), edit_some)} if args.gib else {}
    for name in args.names or ([] if trees else TREES):
        if name not in TREES:
            sys.exit(f"{name}: no such tree; there are {', '.join(TREES)}")
        trees[name] = TREES[name]
    for name, (make, change) in trees.items():
        random.seed(f"{args.seed} {name}")
        v1, v2 = f"{args.out}/{name}-v1", f"{args.out}/{name}-v2"
        if os.path.exists(v1):
            sys.exit(f"{v1} exists: name a new folder")
        make(v1)
        if args.v1_alone:
            continue
        subprocess.run(["cp", "-a", "--sparse=always", v1, v2], check=True)
        change(v2)
        print(name, flush=True)


if __name__ == "__main__":
    main()
