//! Hypotheses about the calcium of a block of frames, and the counts that lead from one to the next.

use super::cells::Cells;
use super::choices::ln_factorial;
use super::dynamics::State;
use super::lookahead::Frame;

/// A count that might follow a hypothesis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proposal<const P: usize> {
    pub state: State<P>,
    /// ln of their joint probability with the trace so far.
    pub log_weight: f64,
    /// The same with all of the trace, in the Gaussian view of later frames.
    pub log_ahead: f64,
    pub parent: u32,
    pub count: f32,
}

/// A hypothesis: a state of the calcium, its probability given the trace so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<const P: usize> {
    pub state: State<P>,
    pub weight: f64,
}

/// A count that leads from a hypothesis of one frame to one of the next, and its likelihood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub parent: u32,
    pub child: u32,
    pub count: f32,
    pub weight: f32,
}

/// Where the nodes and edges of a frame begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameStart {
    pub node: usize,
    pub edge: usize,
}

/// The memory that smoothing needs: reused from trace to trace.
#[derive(Debug)]
pub struct Smoother<const P: usize> {
    pub(super) ln_factorials: Vec<f64>,
    /// The Gaussian view ahead, for each frame of the block.
    pub(super) messages: Vec<Frame<P>>,
    pub(super) nodes: Vec<Node<P>>,
    pub(super) edges: Vec<Edge>,
    pub(super) frames: Vec<FrameStart>,
    pub(super) proposals: Vec<Proposal<P>>,
    pub(super) cells: Cells,
    pub(super) backward: Vec<f64>,
    pub(super) backward_before: Vec<f64>,
}

impl<const P: usize> Default for Smoother<P> {
    fn default() -> Self {
        Self {
            ln_factorials: (0..256).map(ln_factorial).collect(),
            messages: Vec::new(),
            nodes: Vec::new(),
            edges: Vec::new(),
            frames: Vec::new(),
            proposals: Vec::new(),
            cells: Cells::default(),
            backward: Vec::new(),
            backward_before: Vec::new(),
        }
    }
}
