/* From multiboot's 32-bit entry to 64-bit C: the first 4 GiB mapped one to one by pages of 2 MiB. */
    .section .multiboot, "a"
    .balign 4
multiboot:
    .long 0x1badb002
    .long 0x00010003               /* page aligned, memory wanted, addresses below are valid */
    .long -(0x1badb002 + 0x00010003)
    .long multiboot
    .long 0x100000
    .long _edata
    .long _end
    .long _start

    .text
    .code32
    .globl _start
_start:
    cld
    mov $stack_top, %esp
    mov %ebx, %esi                 /* the multiboot information */

    movl $page_directory_pointers + 3, page_map
    mov $page_directories + 3, %eax
    mov $page_directory_pointers, %edi
    mov $4, %ecx
1:  mov %eax, (%edi)
    add $4096, %eax
    add $8, %edi
    loop 1b
    mov $0x83, %eax                /* present, writable, 2 MiB */
    mov $page_directories, %edi
    mov $2048, %ecx
2:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    loop 2b

    mov %cr4, %eax
    or $0x620, %eax                /* PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $page_map, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx          /* EFER: long mode */
    rdmsr
    or $0x100, %eax
    wrmsr
    mov %cr0, %eax
    and $~4, %eax                  /* no FPU emulation */
    or $0x80000002, %eax           /* paging, monitor coprocessor */
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $long_mode

    .code64
long_mode:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $stack_top, %rsp
    xor %ebp, %ebp
    mov %esi, %edi
    call guest_start
    cli
3:  hlt
    jmp 3b

    .globl interrupt_timer
interrupt_timer:
    push %rax
    mov $0x20, %al                 /* end of interrupt */
    out %al, $0x20
    pop %rax
    iretq

    .globl interrupt_device
interrupt_device:                  /* five words lie on the stack already: nine more, and it is aligned for C */
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    cld
    call on_device
    mov $0x20, %al                 /* end of interrupt, at both controllers */
    out %al, $0xa0
    out %al, $0x20
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    iretq

    .globl interrupt_exception
interrupt_exception:
    and $-16, %rsp
    call on_exception

    .data
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff       /* 64-bit code */
    .quad 0x00cf93000000ffff       /* data */
gdt_pointer:
    .word . - gdt - 1
    .long gdt

    .bss
    .balign 4096
page_map: .skip 4096
page_directory_pointers: .skip 4096
page_directories: .skip 4 * 4096
stack: .skip 16384
stack_top:
    .section .note.GNU-stack, "", @progbits
