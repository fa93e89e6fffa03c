//! Element by element.

use super::super::onnx::type_name;
use super::super::shape::broadcast;
use super::super::{Attribute, DataType, GraphBuilder, GraphError, Value};

impl GraphBuilder {
    /// `a + b`, broadcast.
    pub fn add(&mut self, a: &Value, b: &Value) -> Result<Value, GraphError> {
        self.binary("Add", a, b)
    }

    /// `a − b`, broadcast.
    pub fn sub(&mut self, a: &Value, b: &Value) -> Result<Value, GraphError> {
        self.binary("Sub", a, b)
    }

    /// `a · b`, element by element, broadcast.
    pub fn mul(&mut self, a: &Value, b: &Value) -> Result<Value, GraphError> {
        self.binary("Mul", a, b)
    }

    /// `a / b`, broadcast.
    pub fn div(&mut self, a: &Value, b: &Value) -> Result<Value, GraphError> {
        self.binary("Div", a, b)
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, x: &Value) -> Value {
        self.unary("Relu", x)
    }

    /// `tanh(x)`.
    pub fn tanh(&mut self, x: &Value) -> Value {
        self.unary("Tanh", x)
    }

    /// `1 / (1 + exp(−x))`.
    pub fn sigmoid(&mut self, x: &Value) -> Value {
        self.unary("Sigmoid", x)
    }

    /// `log(1 + exp(x))`.
    pub fn softplus(&mut self, x: &Value) -> Value {
        self.unary("Softplus", x)
    }

    /// `√x`.
    pub fn sqrt(&mut self, x: &Value) -> Value {
        self.unary("Sqrt", x)
    }

    /// `exp(x)`.
    pub fn exp(&mut self, x: &Value) -> Value {
        self.unary("Exp", x)
    }

    /// `sin(x)`.
    pub fn sin(&mut self, x: &Value) -> Value {
        self.unary("Sin", x)
    }

    /// `cos(x)`.
    pub fn cos(&mut self, x: &Value) -> Value {
        self.unary("Cos", x)
    }

    /// `x · sigmoid(x)`.
    pub fn silu(&mut self, x: &Value) -> Result<Value, GraphError> {
        let gate = self.sigmoid(x);
        self.mul(x, &gate)
    }

    /// `x · tanh(log(1 + exp(x)))`, written out: not every engine has the operator Mish.
    pub fn mish(&mut self, x: &Value) -> Result<Value, GraphError> {
        let gate = self.softplus(x);
        let gate = self.tanh(&gate);
        self.mul(x, &gate)
    }

    /// `x · Φ(x)` with the error function, in the pattern that engines recognise.
    pub fn gelu(&mut self, x: &Value) -> Result<Value, GraphError> {
        let root = self.scalar(std::f32::consts::SQRT_2);
        let (one, half) = (self.scalar(1.0), self.scalar(0.5));
        let scaled = self.div(x, &root)?;
        let erf = self.unary("Erf", &scaled);
        let gate = self.add(&erf, &one)?;
        let product = self.mul(x, &gate)?;
        self.mul(&product, &half)
    }

    /// Softmax along an axis.
    pub fn softmax(&mut self, x: &Value, axis: usize) -> Result<Value, GraphError> {
        if axis >= x.rank() {
            return Err(self.error("Softmax", format!("no axis {axis} in {:?}", x.shape())));
        }
        let axis = Attribute::Int(axis as i64);
        Ok(self.node(
            "Softmax",
            &[Some(x)],
            vec![("axis", axis)],
            x.dtype,
            x.shape(),
        ))
    }

    /// Bounds on every element.
    pub fn clip(&mut self, x: &Value, low: f32, high: f32) -> Value {
        let (low, high) = (self.scalar(low), self.scalar(high));
        let inputs = [Some(x), Some(&low), Some(&high)];
        self.node("Clip", &inputs, Vec::new(), x.dtype, x.shape())
    }

    /// Another element type.
    pub fn cast(&mut self, x: &Value, to: DataType) -> Value {
        let kind = Attribute::Int(to.onnx() as i64);
        self.node("Cast", &[Some(x)], vec![("to", kind)], to, x.shape())
    }

    /// The value itself, as the result of an operator.
    pub fn identity(&mut self, x: &Value) -> Result<Value, GraphError> {
        Ok(self.unary("Identity", x))
    }

    fn unary(&mut self, op: &'static str, x: &Value) -> Value {
        self.node(op, &[Some(x)], Vec::new(), x.dtype, x.shape())
    }

    fn binary(&mut self, op: &'static str, a: &Value, b: &Value) -> Result<Value, GraphError> {
        if a.dtype != b.dtype {
            let (a, b) = (type_name(a.dtype), type_name(b.dtype));
            return Err(self.error(op, format!("operands are {a} and {b}")));
        }
        let shape = broadcast(a.shape(), b.shape()).ok_or_else(|| {
            let problem = format!("{:?} and {:?} do not broadcast", a.shape(), b.shape());
            self.error(op, problem)
        })?;
        Ok(self.node(op, &[Some(a), Some(b)], Vec::new(), a.dtype, &shape))
    }
}
