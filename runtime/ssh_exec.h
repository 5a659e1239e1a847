/* Commands over a connection: run to the end, or read while they run. */
#ifndef MOONBOOK_SSH_EXEC_H
#define MOONBOOK_SSH_EXEC_H

#include "host.h"
#include "remote_command.h"
#include "ssh_session.h"

/* As the run of struct host_operations: true when it ran, whatever its status. At the timeout, or where the fiber is
 * cancelled, its process group there is ended. A background child that keeps an output open delays the return by a
 * second or two. `name` is the host's. */
bool ssh_exec_run(struct ssh_session *session, const char *name, const struct host_command *command,
                  const struct remote_sudo *sudo, struct process_result *result, struct failure *failure);

/* The first command of a session: its channel is kept as the tap. */
bool ssh_exec_first(struct ssh_session *session, const char *name, const struct host_command *command,
                    const struct remote_sudo *sudo, struct process_result *result, struct failure *failure);

/* As the open of struct host_operations. The command ends when the stream is closed or the connection is lost. */
struct process_stream *ssh_exec_open(struct ssh_session *session, const char *name,
                                     const struct host_command *command, const struct remote_sudo *sudo,
                                     struct failure *failure);

#endif
