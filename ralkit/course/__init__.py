"""The course: worlds to train in, studies, figures, reports, and the command line's work."""
