/* Makes every sync of a process take longer: the shim of tests/suite/cluster/slow_disks.rs.
 *
 * The program calls the kernel without libc, so that no function of libc can be put in its place. A
 * seccomp filter stops each fsync and fdatasync instead; the handler of the signal sleeps and then does
 * the call itself, with a sixth argument that lets it pass the filter.
 *
 * Built by `cc -shared -fPIC`, loaded by LD_PRELOAD; SLOW_SYNC_MS says how long. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define PASS 0x510ead15

static struct timespec delay;

static void on_sync(int signal, siginfo_t *info, void *context) {
    (void)signal;
    int saved = errno;
    nanosleep(&delay, NULL);
    ucontext_t *at = context;
#if defined(__x86_64__)
    long done = syscall(info->si_syscall, at->uc_mcontext.gregs[REG_RDI], 0, 0, 0, 0, PASS);
    at->uc_mcontext.gregs[REG_RAX] = done == 0 ? 0 : -errno;
#elif defined(__aarch64__)
    long done = syscall(info->si_syscall, at->uc_mcontext.regs[0], 0, 0, 0, 0, PASS);
    at->uc_mcontext.regs[0] = done == 0 ? 0 : -errno;
#endif
    errno = saved;
}

__attribute__((constructor)) static void slow_down(void) {
    const char *text = getenv("SLOW_SYNC_MS");
    long ms = text ? atol(text) : 0;
    delay.tv_sec = ms / 1000;
    delay.tv_nsec = ms % 1000 * 1000000;
    struct sigaction action = {.sa_sigaction = on_sync, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PASS, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof code[0], .filter = code};
    if (ms <= 0 || sigaction(SIGSYS, &action, NULL) != 0
        || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        _exit(99);
    }
}
