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
    ("the class of each entry", classes.entries),
    ("entries outside of both searches", classes.outside),
    ("where the bridge stops", classes.where_it_stops),
    ("conflicts", classes.conflicts),
    ("errors in the bridge's config", classes.config),
    ("attributes in a different case", classes.spelling),
    ("no password and no token is printed", classes.no_secret_is_shown),
    ("every fault among a thousand people", classes.every_fault),
    ("a table", sources.table),
    ("errors in the mapping", sources.table_errors),
    ("SCIM users", sources.scim),
    ("malformed LDIF", sources.broken_ldif),
    ("several files and standard input", sources.several_files_and_standard_input),
    ("output formats", sources.forms),
    ("verdicts follow the config", sources.verdict_of_the_config),
    ("proposed handles", sources.proposals),
    ("entries of several megabytes", sources.megabytes),
    ("OpenLDAP: same results as for its export", live.the_same_as_an_export),
    ("OpenLDAP: a private CA", live.an_own_ca),
    ("OpenLDAP: a size limit", live.a_size_limit),
    ("OpenLDAP: refusals", live.refusals),
    ("OpenLDAP: failure during the search", live.stops_in_the_middle),
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
