# Give each variable a number when it is made: what it was made of has smaller
# numbers. Then going back in the order of falling numbers is right, without
# recursion. Each variable keeps its inputs and a function from its gradient to
# theirs.
#
# backward(): set self.grad to 1. Keep the variables to be visited in a heap
# (heapq) of (-number, variable), each once. Take the first, and for each of
# its inputs add to grad what the function gives, and push the input if it has
# not been pushed. The gradient of a @ b is (g @ b.T, a.T @ g), of tanh g * (1
# - y * y), of a sum g everywhere.

import heapq
import itertools

import numpy as np

numbers = itertools.count()


class Variable:
    def __init__(self, data, inputs=(), backward=None):
        self.data = np.asarray(data)
        self.grad = None
        self.number = next(numbers)
        self.inputs = inputs
        self.to_inputs = backward

    def __lt__(self, other):
        return self.number > other.number  # so that a heap gives the youngest first

    def __add__(self, other):
        return Variable(self.data + other.data, (self, other), lambda g: (g, g))

    def __mul__(self, other):
        a, b = self.data, other.data
        return Variable(a * b, (self, other), lambda g: (g * b, g * a))

    def __matmul__(self, other):
        a, b = self.data, other.data
        return Variable(a @ b, (self, other), lambda g: (g @ b.T, a.T @ g))

    def tanh(self):
        y = np.tanh(self.data)
        return Variable(y, (self,), lambda g: (g * (1 - y * y),))

    def sum(self):
        shape = self.data.shape
        return Variable(self.data.sum(), (self,), lambda g: (np.full(shape, g),))

    def backward(self):
        self.grad = np.ones_like(self.data)
        heap = [self]
        seen = {self}
        while heap:
            variable = heapq.heappop(heap)
            if not variable.inputs:
                continue
            for child, g in zip(variable.inputs, variable.to_inputs(variable.grad), strict=True):
                child.grad = g if child.grad is None else child.grad + g
                if child not in seen:
                    seen.add(child)
                    heapq.heappush(heap, child)
