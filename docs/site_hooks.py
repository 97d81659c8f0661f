"""Lays the files of the site of `make docs` as they lie in the repository.

So the links of the guides work on the site as they are, also those that leave `docs/`. README is
the first page. The reference lists the names of the package.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import qlumen

ROOT = Path(__file__).resolve().parents[1]
SHOWN = (
    "*.md", "CITATION.cff", "LICENSE", "NOTICE", "configs/*.yaml", "deploy/**/*", "docs/**/*",
    "examples/**/*", "models/**/*.md", "realtime/*/pipeline.py",
)  # fmt: skip
FOLDERS = ("docs/accuracy", "docs/decisions", "examples/plugin")
LEFT_OUT = re.compile(r"docs/.*\.py$|.*/__pycache__/")
LINK = re.compile(r"(?<=\]\()[\w./-]+(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the files of the repository in the place of those of `docs/`."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    for path in shown_files():
        files.append(File(path, str(ROOT), config.site_dir, use_directory_urls=False))
    for folder in FOLDERS:
        files.append(File.generated(config, f"{folder}/index.md", content=contents(folder)))
    names = "\n\n".join(f"::: qlumen.{name}" for name in qlumen.__all__)
    files.append(File.generated(config, "reference.md", content=f"# Reference\n\n{names}\n"))
    return files


def shown_files() -> list[str]:
    """List the paths of the files that the site shows, from the repository's root."""
    found = {path for pattern in SHOWN for path in ROOT.glob(pattern) if path.is_file()}
    names = sorted(path.relative_to(ROOT).as_posix() for path in found)
    return [name for name in names if not LEFT_OUT.match(name)]


def contents(folder: str) -> str:
    """Return a page with links to the files of a folder."""
    names = [path[len(folder) + 1 :] for path in shown_files() if path.startswith(f"{folder}/")]
    return f"# {folder}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to a folder to the page of its contents."""
    here = (ROOT / page.file.src_uri).parent

    def lead(link: re.Match[str]) -> str:
        return f"{link[0].rstrip('/')}/index.md" if (here / link[0]).is_dir() else link[0]

    return LINK.sub(lead, markdown)
