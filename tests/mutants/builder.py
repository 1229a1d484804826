"""Compile mutants: one object anew, linked with the other objects of a build of the whole tree."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import sites

HERE = Path(__file__).resolve().parent
INLINE = {"pms_flush_at": "pms_flush_slow"}  # with a recorder, the first is a call of the second
DOOR = [f"{name}_at" for name in sites.DOOR]
WRAPPED = ",".join(
    f"--wrap={name}" for name in ["pms_store_slow", *(INLINE.get(n, n) for n in DOOR)]
)


class Builder:
    """A build of a copy of the tree in `work`, and executables with one mutant each.

    Args:
        tree: Root of the sources.
        work: An empty directory.
        cmake: The program.
    """

    def __init__(self, tree: Path, work: Path, cmake: str) -> None:
        self.work = work
        self.tree = work / "tree"
        for name in ("pmemstore/_native", "tests/native"):
            shutil.copytree(tree / name, self.tree / name)
        shutil.copy(tree / "CMakeLists.txt", self.tree)
        self.native = self.tree / "pmemstore/_native"
        self.build = work / "build"
        options = ["-DPMEMSTORE_NATIVE_TESTS=ON", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"]
        run([cmake, "-S", str(self.tree), "-B", str(self.build), "-G", "Unix Makefiles", *options])
        run([cmake, "--build", str(self.build)])
        commands = json.loads((self.build / "compile_commands.json").read_text())
        self.compiles = {
            Path(entry["file"]).name: shlex.split(entry["command"]) for entry in commands
        }
        shutil.copy(HERE / "mutant.h", work)
        shutil.copy(HERE / "mutant.c", work)
        self.runtime = self._compile(work / "mutant.c", "status.c")

    def _compile(self, source: Path, like: str) -> Path:
        command = list(self.compiles[like])
        out = source.with_suffix(".o")
        command[command.index("-o") + 1] = str(out)
        command[command.index("-c") + 1] = str(source)
        quiet = ["-w", "-std=gnu11", f"-I{self.work}", f"-I{self.native}"]
        run([*command, *quiet])
        return out

    def objects(self, mutant: sites.Mutant) -> list[Path]:
        """The objects of the files that the mutant changes."""
        out = []
        for name, text in sites.edited(self.native, mutant).items():
            source = self.work / "mutated" / name
            source.parent.mkdir(exist_ok=True)
            source.write_text(text)
            out.append(self._compile(source, name))
        return out

    def link(self, test: str, objects: list[Path]) -> Path:
        """The test with these objects in place of the core's own: the linker takes the first."""
        directory = self.build / "tests/native"
        command = shlex.split((directory / f"CMakeFiles/{test}.dir/link.txt").read_text())
        out = self.work / f"mutated-{test}"
        command[command.index("-o") + 1] = str(out)
        library = next(i for i, word in enumerate(command) if word.endswith("core.a"))
        command[library:library] = [*map(str, objects), str(self.runtime)]
        run([*command, f"-Wl,{WRAPPED}"], directory)
        return out

    def tests(self) -> set[str]:
        """Names of the test programs."""
        pattern = re.compile(r"CMakeFiles/(\w+)\.dir$")
        places = (self.build / "tests/native/CMakeFiles").glob("*.dir")
        return {match[1] for place in places if (match := pattern.search(str(place)))}


def run(command: list[str], directory: Path | None = None) -> None:
    """Run a tool; what it says is shown only when it fails."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
