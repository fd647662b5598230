/* Holds a pod's namespaces, and is process 1 of a lab node: collects ended processes, ends when asked to. */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
  sigset_t all;
  sigemptyset(&all);
  sigaddset(&all, SIGCHLD);
  sigaddset(&all, SIGINT);
  sigaddset(&all, SIGTERM);
  /* Blocked and taken one by one, so that none is lost between a look and a wait. */
  sigprocmask(SIG_BLOCK, &all, NULL);
  for (;;) {
    /* Before the first wait too: an exec'd process inherits children that may have ended already. */
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    int taken = 0;
    if (sigwait(&all, &taken) == 0 && taken != SIGCHLD) {
      return 0;
    }
  }
}
