/*
 * The filter of system calls. It lists what is refused, not what is allowed: a C library of next year may need a call
 * that nobody knows today, but never one that starts a program. Threads are told from processes by clone's flags;
 * clone3, whose flags a filter cannot see, is said not to exist, and the C library takes clone.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "allocator/confine.h"
#include "base/mem.h"

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000u
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define THIS_ARCH AUDIT_ARCH_RISCV64
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef THIS_ARCH

/* The leak checker looks at its own process through a sibling that it clones and that traces it. */
#ifdef SANITIZED
#define THREAD_FLAGS (CLONE_THREAD | CLONE_UNTRACED)
#else
#define THREAD_FLAGS CLONE_THREAD
#endif

static const int refused[] = {
        SYS_execve,
        SYS_execveat,
#ifdef SYS_fork
        SYS_fork,
        SYS_vfork,
#endif
#ifndef SANITIZED
        SYS_ptrace,
#endif
        SYS_process_vm_readv,
        SYS_process_vm_writev,
        SYS_pidfd_getfd,
        SYS_kcmp,
        /* other places to stand */
        SYS_unshare,
        SYS_setns,
        SYS_chroot,
        SYS_pivot_root,
        SYS_mount,
        SYS_umount2,
        SYS_open_tree,
        SYS_move_mount,
        SYS_fsopen,
        SYS_fsconfig,
        SYS_fsmount,
        SYS_fspick,
        SYS_name_to_handle_at,
        SYS_open_by_handle_at,
        /* doors of the kernel through which others have come */
        SYS_bpf,
        SYS_perf_event_open,
        SYS_userfaultfd,
        SYS_add_key,
        SYS_request_key,
        SYS_keyctl,
        SYS_vmsplice,
        SYS_personality,
        SYS_acct,
        SYS_quotactl,
        SYS_syslog,
        SYS_swapon,
        SYS_swapoff,
        SYS_reboot,
        SYS_init_module,
        SYS_finit_module,
        SYS_delete_module,
        SYS_kexec_load,
#ifdef SYS_modify_ldt
        SYS_modify_ldt,
        SYS_ioperm,
        SYS_iopl,
#endif
};

/* What is told to be missing has another way, which its callers then take. */
static const int unknown[] = {SYS_clone3, 425 /* io_uring_setup */, 426 /* io_uring_enter */,
                              427 /* io_uring_register */};

static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK /* getaddrinfo lists addresses with it */};

#define FILTER_MAX 256

struct filter {
        struct sock_filter code[FILTER_MAX];
        unsigned short n;
};

static void put(struct filter *f, unsigned short code, uint32_t k, uint8_t if_true, uint8_t if_false)
{
        if (f->n == FILTER_MAX)
                abort();
        f->code[f->n++] = (struct sock_filter){.code = code, .jt = if_true, .jf = if_false, .k = k};
}

static void load(struct filter *f, size_t offset)
{
        put(f, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void give(struct filter *f, uint32_t action)
{
        put(f, BPF_RET | BPF_K, action, 0, 0);
}

static void give_if(struct filter *f, uint32_t value, uint32_t action)
{
        put(f, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
        give(f, action);
}

/* All three machines are little-endian: an argument's low half is where the argument is. */
static void look_at_clone(struct filter *f)
{
        put(f, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4);
        load(f, offsetof(struct seccomp_data, args[0]));
        put(f, BPF_JMP | BPF_JSET | BPF_K, THREAD_FLAGS, 1, 0);
        give(f, SECCOMP_RET_ERRNO | EPERM);
        give(f, SECCOMP_RET_ALLOW);
}

static void look_at_socket(struct filter *f)
{
        put(f, BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 2 + 2 * ARRAY_SIZE(families));
        load(f, offsetof(struct seccomp_data, args[0]));
        for (size_t i = 0; i < ARRAY_SIZE(families); i++)
                give_if(f, (uint32_t)families[i], SECCOMP_RET_ALLOW);
        give(f, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
}

static void write_filter(struct filter *f)
{
        load(f, offsetof(struct seccomp_data, arch));
        put(f, BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0);
        give(f, SECCOMP_RET_KILL_PROCESS);
        load(f, offsetof(struct seccomp_data, nr));
#ifdef X32_BIT
        put(f, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
        give(f, SECCOMP_RET_ERRNO | ENOSYS);
#endif
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
                give_if(f, (uint32_t)refused[i], SECCOMP_RET_ERRNO | EPERM);
        for (size_t i = 0; i < ARRAY_SIZE(unknown); i++)
                give_if(f, (uint32_t)unknown[i], SECCOMP_RET_ERRNO | ENOSYS);
        look_at_clone(f);
        look_at_socket(f);
        give(f, SECCOMP_RET_ALLOW);
}

bool confine_calls(void)
{
        struct filter f = {.n = 0};
        write_filter(&f);
        struct sock_fprog program = {.len = f.n, .filter = f.code};
        return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

#else

bool confine_calls(void)
{
        return false;
}

#endif
