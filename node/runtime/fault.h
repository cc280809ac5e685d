/* Fault points: named steps at which a test has a process killed, as by `kill -9` at just that place. They are there in
 * a build that was configured with --enable-fault-points, and nothing at all in any other: not even the names. */
#ifndef UNIMESH_NODE_RUNTIME_FAULT_H
#define UNIMESH_NODE_RUNTIME_FAULT_H

#ifdef FAULT_POINTS
/* If the file that the environment calls UNIMESH_FAULT begins with this name and a newline, it is filled with zeros (so
 * that whoever is started again isn't killed again, and a test sees that the point was passed), and this process is
 * killed. No name is longer than 62 bytes. Without such a file, nothing happens. */
void fault_point(const char *name);
#else
#define fault_point(name) ((void)0)
#endif

#endif
