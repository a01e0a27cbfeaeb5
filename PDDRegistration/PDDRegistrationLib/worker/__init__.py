"""The client of the registration process, jobs that run in it, and the setup of torch."""
