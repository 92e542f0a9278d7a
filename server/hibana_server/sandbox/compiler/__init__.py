"""The compile worker: a process of its own for each job, since a hostile module can make the compiler eat or die."""
