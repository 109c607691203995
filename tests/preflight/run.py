#!/usr/bin/env python3
"""preflight with the recorded requests of the bridge, difficult inputs, and a real OpenLDAP."""

import argparse
import sys

import program
from program import Folder
import classes
import live
import recorded
import sources

from guard import run

SCENARIOS = [
    ("the recorded run of the bridge", recorded.both_runs),
    ("what the bridge does with each entry", classes.entries),
    ("who is outside of both searches", classes.outside),
    ("where the bridge stops", classes.where_it_stops),
    ("conflicts", classes.conflicts),
    ("mistakes of the bridge's config", classes.config),
    ("attributes under another spelling", classes.spelling),
    ("no password and no token is shown", classes.no_secret_is_shown),
    ("a thousand people with every fault", classes.every_fault),
    ("a table", sources.table),
    ("mistakes of the mapping", sources.table_mistakes),
    ("SCIM users", sources.scim),
    ("LDIF that is broken", sources.broken_ldif),
    ("several files and standard input", sources.several_files_and_standard_input),
    ("forms of the output", sources.forms),
    ("the verdict is that of the config", sources.verdict_of_the_config),
    ("proposals", sources.proposals),
    ("entries of megabytes", sources.megabytes),
    ("OpenLDAP: the same as its export", live.the_same_as_an_export),
    ("OpenLDAP: a CA of its own", live.an_own_ca),
    ("OpenLDAP: a size limit", live.a_size_limit),
    ("OpenLDAP: what it refuses", live.refusals),
    ("OpenLDAP: stops in the middle", live.stops_in_the_middle),
]


def within_a_folder(scenario):
    def scenario_in_folder():
        with Folder() as folder:
            scenario(folder)

    return scenario_in_folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", default="", help="run only scenarios whose name contains this")
    options = parser.parse_args()
    program.BINARY[0] = options.binary
    chosen = [(name, within_a_folder(scenario)) for name, scenario in SCENARIOS if options.only in name]
    sys.exit(run(chosen))
