/* A simulation that does things wrong, and tells what came of it: one line `what: code: words` for each. */
#include <locale.h>
#include <mpi.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdi_couple.h"

enum { LENGTH = 16 };

static cdi_coupling *coupling;
static double density[LENGTH][LENGTH];

static void tell(const char *what, int code, const char *words) {
    printf("%s: %d: %s\n", what, code, words);
    fflush(stdout);
}

static void publish(const char *what, const char *name, int dimensions, const long *extents, const char *attributes,
                    long step, size_t size) {
    char reason[512] = "?";
    int code = cdi_publish_shaped(coupling, name, density, dimensions, extents, attributes, step, reason, size);
    tell(what, code, reason);
}

static void *publish_elsewhere(void *unused) {
    publish("thread", "density", -1, NULL, NULL, 4, 512);
    return unused;
}

static void publications(void) {
    long half[] = {LENGTH / 2, LENGTH}, none[] = {0, LENGTH}, long_[] = {LENGTH + 1, LENGTH}, line[] = {LENGTH};
    publish("unknown", "densty", -1, NULL, NULL, 0, 512);
    publish("whole", "density", -1, NULL, "{\"pressure\": 2.5}", 1, 512);
    publish("half", "density", 2, half, NULL, 2, 512);
    publish("repeated", "density", -1, NULL, NULL, 2, 512);
    publish("cut", "density", -1, NULL, NULL, 2, 4);
    publish("too long", "density", 2, long_, NULL, 3, 512);
    publish("line", "density", 1, line, NULL, 3, 512);
    publish("no object", "density", -1, NULL, "[1]", 3, 512);
    publish("no json", "density", -1, NULL, "{", 3, 512);
    publish("no text", "den\xffsity", -1, NULL, NULL, 3, 512);
    tell("null", cdi_publish(coupling, "density", NULL, NULL, 3, NULL, 0), cdi_error());
    tell("no coupling", cdi_publish(NULL, "density", density, NULL, 3, NULL, 0), cdi_error());
    tell("empty", cdi_publish_shaped(coupling, "density", NULL, 2, none, NULL, 3, NULL, 0), "");
    pthread_t thread;
    pthread_create(&thread, NULL, publish_elsewhere, NULL);
    pthread_join(thread, NULL);
}

static struct sigaction interrupt, broken_pipe;

static int same_signals(void) {
    struct sigaction now[2];
    sigaction(SIGINT, NULL, &now[0]);
    sigaction(SIGPIPE, NULL, &now[1]);
    return now[0].sa_handler == interrupt.sa_handler && now[1].sa_handler == broken_pipe.sa_handler;
}

/* What a library must leave alone. */
static void manners(void) {
    tell("signals", same_signals(), "");
    tell("locale", !strcmp(setlocale(LC_ALL, NULL), "C"), setlocale(LC_ALL, NULL));
    MPI_Errhandler world, own;
    MPI_Comm_get_errhandler(MPI_COMM_WORLD, &world);
    MPI_Comm_get_errhandler(cdi_simulation_comm(coupling), &own);
    tell("errors", world == MPI_ERRORS_ARE_FATAL && own == MPI_ERRORS_ARE_FATAL, "");
}

/* Steps until a command comes: of two proposed at once, with room for one. */
static void steer(void) {
    for (long step = 10, got = 0; step < 2000 && got < 2; step++) {
        cdi_command command;
        int count;
        cdi_publish(coupling, "density", density, NULL, step, NULL, 0);
        int code = cdi_end_step(coupling, step);
        if (code == CDI_OK) code = cdi_poll_steering(coupling, &command, 1, &count);
        if (code != CDI_OK) {
            tell("steering", code, cdi_error());
            return;
        }
        if (count) {
            char words[128];
            snprintf(words, sizeof words, "%s %d %g", command.name, command.has_value, command.value);
            tell("command", count, words);
            got++;
        }
        usleep(5000);
    }
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    int code = cdi_attach(MPI_COMM_NULL, arguments[1], arguments[2], arguments[3], &coupling), level;
    tell("too early", code, cdi_error());
    MPI_Init_thread(&count, &arguments, MPI_THREAD_SERIALIZED, &level);
    sigaction(SIGINT, NULL, &interrupt);
    sigaction(SIGPIPE, NULL, &broken_pipe);
    code = cdi_attach(MPI_COMM_WORLD, arguments[1], arguments[2], arguments[3], &coupling);
    if (code == CDI_OK) {
        density[0][0] = 1;
        manners();
        publications();
        steer();
        tell("close", cdi_close(coupling), "");
    } else {
        tell("attach", code, code == CDI_ERROR ? cdi_error() : "");
    }
    if (code == CDI_ERROR) {
        MPI_Finalize();
        return 0;
    }
    /* A second one, left alone for a reason in letters that are no UTF-8. */
    char again[4096];
    snprintf(again, sizeof again, "%s-again", arguments[3]);
    if (cdi_attach(MPI_COMM_WORLD, arguments[1], arguments[2], again, &coupling) == CDI_OK)
        cdi_abandon(coupling, "the m\xfcsh is tangled");
    MPI_Finalize();
    return 0;
}
