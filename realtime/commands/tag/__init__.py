"""Many files in one run: `instrec-live tag`. One pure function per file, processes around it, results that resume."""
