/* What the kernels take from OpenMP, over threads that ThreadSanitizer follows: libgomp isn't compiled for it, so that it
 * would not see that a region begins after what came before it, and ends before what comes next. */
#include <pthread.h>
#include <stdlib.h>

typedef struct {
    void (*body)(void *);
    void *data;
    int me, team;
} member_t;

static _Thread_local int me, team = 1;

int omp_get_thread_num(void) { return me; }
int omp_get_num_threads(void) { return team; }
int omp_get_max_threads(void) { return team; }

static void *run(void *argument) {
    const member_t *member = argument;
    const int my = me, mine = team;
    me = member->me, team = member->team;
    member->body(member->data);
    me = my, team = mine;
    return NULL;
}

void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags) {
    enum { MOST = 64 };
    member_t members[MOST];
    pthread_t started[MOST];
    const int size = threads ? (int)threads : 1;
    (void)flags;
    if (size > MOST) abort();
    for (int k = 0; k < size; k++) {
        members[k] = (member_t){body, data, k, size};
        if (k && pthread_create(&started[k], NULL, run, &members[k])) abort();
    }
    run(&members[0]);
    for (int k = 1; k < size; k++) pthread_join(started[k], NULL);
}
