#!/usr/bin/env python3
"""DEP-5 copyright of the source package: ours, and that of every crate below vendor/.

Usage: copyright.py SOURCE-DIRECTORY > debian/copyright

What a crate says in its Cargo.toml (license, authors) is taken; texts of licences that Debian does
not have in /usr/share/common-licenses come from the first crate that ships them. A crate without
either ends the program.
"""

import pathlib
import re
import sys
import tomllib

# SPDX identifiers, where Debian's name is another.
NAMES = {"MIT": "Expat", "BSD-3-Clause": "BSD-3-clause", "BSD-2-Clause": "BSD-2-clause"}
# Those that are in /usr/share/common-licenses, by the name of the file.
COMMON = {
    "Apache-2.0": "Apache-2.0",
    "CC0-1.0": "CC0-1.0",
    "LGPL-2.1-or-later": "LGPL-2.1",
    "MPL-2.0": "MPL-2.0",
}
# Offered beside others by crates that do not ship its text: we take one of the others.
UNTAKEN = re.compile(r"\s+or\s+MIT-0\b|\bMIT-0\s+or\s+")
# What the file of a licence begins with or holds.
SIGNS = {
    "Expat": "Permission is hereby granted, free of charge",
    "ISC": "Permission to use, copy, modify, and",
    "BSD-3-clause": "Neither the name",
    "BSD-2-clause": "Redistributions in binary form",
    "Unicode-3.0": "UNICODE LICENSE V3",
    "Zlib": "This software is provided 'as-is'",
    "0BSD": "Permission to use, copy, modify, and/or distribute this software for any",
    "Unlicense": "This is free and unencumbered software",
    "BSL-1.0": "Boost Software License",
    "CDLA-Permissive-2.0": "Community Data License Agreement",
    "Apache-2.0-WITH-LLVM-exception": "LLVM Exceptions",
}


def debian_name(expression):
    """The expression of SPDX as DEP-5 writes it."""
    words = expression.replace("/", " OR ").replace("(", " ( ").replace(")", " ) ")
    words = words.replace("Apache-2.0 WITH LLVM-exception", "Apache-2.0-WITH-LLVM-exception")
    parts = []
    for word in words.split():
        parts.append({"OR": "or", "AND": "and"}.get(word, NAMES.get(word, word)))
    return UNTAKEN.sub("", re.sub(r"\( ", "(", re.sub(r" \)", ")", " ".join(parts))))


def indented(text):
    """Text as the body of a field: a space before each line, a dot for an empty one."""
    lines = text.strip().splitlines()
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in lines)


def texts_of(crate):
    for path in sorted(crate.iterdir()):
        if re.match(r"(?i)(licen[sc]e|copying|unlicense|notice)", path.name) and path.is_file():
            yield path.read_text(encoding="utf-8", errors="replace")


def main():
    source = pathlib.Path(sys.argv[1])
    print("Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/")
    print("Upstream-Name: SkyTools\nSource: https://github.com/pgq/skytools\n")
    own = (source / "LICENSE").read_text(encoding="utf-8")
    holders = re.findall(r"(?m)^\s*Copyright \(c\) (.*)$", own)
    print("Files: *\nCopyright: " + "\n           ".join(holders) + "\nLicense: ISC\n")
    licences, texts = {"ISC"}, {"ISC": own}
    for crate in sorted(source.glob("vendor/*")):
        package = tomllib.loads((crate / "Cargo.toml").read_text(encoding="utf-8"))["package"]
        expression = package.get("license")
        if not expression:
            sys.exit(f"{crate.name}: its Cargo.toml names no licence")
        licence = debian_name(expression)
        found = list(texts_of(crate))
        holders = [re.sub(r"\s*<[^>]*>", "", author) for author in package.get("authors", [])]
        if not holders:
            lines = re.findall(r"(?mi)^\s*copyright \(c\) (.*)$", "\n".join(found))
            holders = [line.strip() for line in lines] or [f"the authors of {package['name']}"]
        print(f"Files: vendor/{crate.name}/*\nCopyright: " + "\n           ".join(holders))
        print(f"License: {licence}\n")
        for name in re.split(r"\s+(?:or|and)\s+|[()]", licence):
            if not name.strip():
                continue
            licences.add(name.strip())
            for text in found:
                if name not in texts and SIGNS.get(name, "\0") in text:
                    texts[name] = text
    for name in sorted(licences):
        print(f"License: {name}")
        if name in COMMON:
            print(f" On Debian systems the text is in /usr/share/common-licenses/{COMMON[name]}.\n")
        elif name == "Apache-2.0-WITH-LLVM-exception":
            exception = texts[name][texts[name].index("LLVM Exceptions") :]
            apache = "The Apache License 2.0 (/usr/share/common-licenses/Apache-2.0), and:"
            print(indented(f"{apache}\n\n{exception}") + "\n")
        elif name in texts:
            print(indented(texts[name]) + "\n")
        else:
            sys.exit(f"no crate ships the text of licence {name}")


main()
