"""What a record is, where runs lie, and what is done with whole runs.

record.py          a record, its run's header, its provenance
lines.py           how they look in a file: shared facts once, both schema versions
run_file.py        read, append to and find the files of runs
task_files.py      files that the tasks of a cluster write, collected into the run's
environment.py     the code and machine that are recorded
folders.py         where suites and runs are looked for
same_case.py       what two records must share to be compared
merge.py  accepted.py  explain.py  recipe_search.py    what is done with whole runs
"""
