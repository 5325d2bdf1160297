/* What the kernels take from OpenMP, over threads that ThreadSanitizer follows: libgomp isn't compiled for it, so that it
 * would not see that a region begins after what came before it, and ends before what comes next. */
#include <pthread.h>
#include <stdlib.h>

typedef struct {
    void (*body)(void *);
    void *data;
    int tid, team;
} thread_t;

static _Thread_local int tid, team = 1;

int omp_get_thread_num(void) { return tid; }
int omp_get_num_threads(void) { return team; }
int omp_get_max_threads(void) { return 64; }

static void *run(void *argument) {
    const thread_t *thread = argument;
    const int outer_tid = tid, outer_team = team;
    tid = thread->tid, team = thread->team;
    thread->body(thread->data);
    tid = outer_tid, team = outer_team;
    return NULL;
}

void GOMP_parallel(void (*body)(void *), void *data, unsigned n_threads, unsigned flags) {
    enum { MOST = 64 };
    thread_t threads[MOST];
    pthread_t started[MOST];
    const int size = n_threads ? (int)n_threads : 1;
    (void)flags;
    if (size > MOST) abort();
    for (int k = 0; k < size; k++) {
        threads[k] = (thread_t){body, data, k, size};
        if (k && pthread_create(&started[k], NULL, run, &threads[k])) abort();
    }
    run(&threads[0]);
    for (int k = 1; k < size; k++) pthread_join(started[k], NULL);
}
