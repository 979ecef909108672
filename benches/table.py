#!/usr/bin/env python3
"""The table of a run of compare.sh: medians, and each beside drover's, as Markdown."""

import os
import sys
from collections import defaultdict
from statistics import median

STEPS = ["baseline", "no change", "1 % changed", "verify", "restore"]


def main(path):
    facts, rows = [], defaultdict(list)
    for line in open(path):
        if line.startswith("# "):
            facts.append(line[2:].strip())
            continue
        corpus, step, tool, _, status, wall, user, system, peak, stored = line.rstrip("\n").split("\t")
        figures = (float(wall), float(user) + float(system), int(peak) / 1024, int(stored) / 1e6)
        rows[corpus, step, tool].append((int(status), figures))
    print(f"# {os.path.basename(path)[:10]}: drover beside other tools\n")
    print("Medians; runs were taken in turns, page cache warm, repository and restored tree on the disk")
    print("of the source. Ratios compare within this run only: another machine, or this one")
    print("on another day, gives other times. Written by `benches/compare.sh`.\n")
    print("\n".join(f"- {fact}" for fact in facts))
    for corpus in dict.fromkeys(corpus for corpus, _, _ in rows):
        print(f"\n## {corpus}")
        for step in STEPS:
            tools = [tool for c, s, tool in rows if (c, s) == (corpus, step)]
            if not tools:
                continue
            medians = {
                tool: [median(column) for column in zip(*(f for _, f in rows[corpus, step, tool]))]
                for tool in tools
            }
            stored = step in STEPS[:3]
            print(f"\n### {step}\n")
            head = ["tool", "runs", "wall s", "of drover's", "CPU s", "of drover's", "peak MiB"]
            head += ["stored MB"] if stored else []
            print("| " + " | ".join(head) + " |")
            print("| " + " | ".join("---" for _ in head) + " |")
            ours = medians.get("drover")
            for tool in tools:
                wall, cpu, peak, size = medians[tool]
                each = rows[corpus, step, tool]
                ratio = lambda mine, at: f"{mine / ours[at]:.2f}" if ours and ours[at] else "–"
                row = [tool + " (failed)" * any(status for status, _ in each), str(len(each))]
                row += [f"{wall:.2f}", ratio(wall, 0), f"{cpu:.2f}", ratio(cpu, 1), f"{peak:.0f}"]
                row += [f"{size:.0f}"] if stored else []
                print("| " + " | ".join(row) + " |")


main(sys.argv[1])
