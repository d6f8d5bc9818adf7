// Signals of the processor, in the middle of a thread of a kernel, as faults of that kernel.

#pragma once

#include <pthread.h>
#include <signal.h>

namespace emulator {
namespace {

const int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE}, SIGNAL_COUNT = 3;
struct sigaction former[SIGNAL_COUNT];
pthread_t launching;

void on_signal(int number, siginfo_t* about, void* context) {
    if (!current || !pthread_equal(pthread_self(), launching)) {  // not of a kernel
        for (int i = 0; i < SIGNAL_COUNT; ++i) sigaction(SIGNALS[i], &former[i], nullptr);
        return;  // and it comes again
    }
    const char* const address = (const char*)about->si_addr;
    fault->code = image.offset((char*)program_counter(context) + 1);
    const char* const stack = current->stack.memory;
    if (number == SIGFPE) fail(DIVISION, 0);
    if (number == SIGSEGV && about->si_code == SI_KERNEL) fail(MISALIGNED, 0);
    if (address >= stack && address < stack + STACK_GUARD) fail(STACK, 0);
    name_array(address);
    fault->access = wrote(context);
    fail(OUTSIDE, 0);
}

// The signals of kernels, while one runs.
struct Signals {
    stack_t before;
    Signals() {
        static char memory[1 << 16];
        stack_t own = {};
        own.ss_sp = memory;
        own.ss_size = sizeof memory;
        sigaltstack(&own, &before);
        struct sigaction action = {};
        action.sa_sigaction = on_signal;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        launching = pthread_self();
        for (int i = 0; i < SIGNAL_COUNT; ++i) sigaction(SIGNALS[i], &action, &former[i]);
    }
    ~Signals() {
        for (int i = 0; i < SIGNAL_COUNT; ++i) sigaction(SIGNALS[i], &former[i], nullptr);
        sigaltstack(&before, nullptr);
    }
};

}  // namespace
}  // namespace emulator
