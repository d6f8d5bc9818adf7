// Stacks for fibers, and the switch from one to another.
//
// On x86-64 the switch is written by hand: it saves the registers that a function must keep, and
// exchanges the stack pointers; a few nanoseconds. Elsewhere it is swapcontext, which also asks the
// system for the signal mask.

#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

namespace emulator {

const size_t STACK_BYTES = 1 << 17, STACK_GUARD = 1 << 14;

inline char* stack_memory() {
    char* const memory = (char*)mmap(nullptr, STACK_BYTES, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, STACK_GUARD, PROT_NONE)) abort();
    return memory;
}

}  // namespace emulator

#if defined(__x86_64__) && !defined(TINYFCN_UCONTEXT)

extern "C" void tinyfcn_switch(void** from, void* to) __attribute__((visibility("hidden")));
asm(R"(
.text
.type tinyfcn_switch, @function
.hidden tinyfcn_switch
tinyfcn_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size tinyfcn_switch, .-tinyfcn_switch
)");

namespace emulator {

struct Stack {
    void* pointer;
    char* memory;
};

inline void switch_stack(Stack& from, Stack& to) { tinyfcn_switch(&from.pointer, to.pointer); }

// The next switch to the stack calls `begin`, which never returns.
inline void clear_stack(Stack& stack, void (*begin)()) {
    void** top = (void**)(stack.memory + STACK_BYTES) - 1;  // where a caller's return address lies
    *top = nullptr;
    *--top = (void*)begin;
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    stack.pointer = top;
}

}  // namespace emulator

#else

#include <ucontext.h>

namespace emulator {

struct Stack {
    ucontext_t context;
    char* memory;
};

inline void switch_stack(Stack& from, Stack& to) { swapcontext(&from.context, &to.context); }

inline void clear_stack(Stack& stack, void (*begin)()) {
    getcontext(&stack.context);
    stack.context.uc_stack.ss_sp = stack.memory;
    stack.context.uc_stack.ss_size = STACK_BYTES;
    stack.context.uc_link = nullptr;
    makecontext(&stack.context, begin, 0);
}

}  // namespace emulator

#endif

namespace emulator {

inline void new_stack(Stack& stack, void (*begin)()) {
    stack.memory = stack_memory();
    clear_stack(stack, begin);
}

}  // namespace emulator
