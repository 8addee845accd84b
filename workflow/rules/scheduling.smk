# When Snakemake looks for jobs to start: when one has ended, and at no other time.


def look_when_jobs_end():
    """Turn the limit of jobs started per second off, whose default no run of this workflow reaches.

    With it Snakemake looks again a second after each look, and once more often for each job that has ended: after fifty
    trials of sixty-six, its looks at those that wait took a quarter to a half of a core, beside the trial that was measured.
    """
    workflow.scheduler.job_rate_limiter = None
