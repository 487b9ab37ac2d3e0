//! The arrays of a MATLAB file of versions 5 to 7 as a tree.

use std::path::Path;

use ndarray::ArrayD;

use super::matlab5::{self, Content, StoredArray, Variable};
use super::tree::{Listed, Tree};
use crate::Problem;
use crate::whole_file::cannot_read;

/// A file in memory.
pub(crate) struct Matlab5Tree {
    variables: Vec<Variable>,
    arrays: Vec<Listed>,
    left_out: Vec<String>,
}

impl Matlab5Tree {
    /// # Errors
    /// A problem of the disk; [`Problem::BadMatlab`].
    pub(crate) fn read(path: &Path) -> Result<Self, Problem> {
        let variables = matlab5::parse(std::fs::read(path).map_err(cannot_read)?)?;
        let arrays = variables
            .iter()
            .filter_map(|variable| match &variable.content {
                Content::Array(array) => Some(Listed {
                    name: variable.path.clone(),
                    shape: array.shape.clone(),
                }),
                _ => None,
            });
        let objects = variables
            .iter()
            .filter_map(|variable| match variable.content {
                Content::Other(
                    what @ (matlab5::SPARSE | matlab5::AN_OBJECT | matlab5::COMPLEX),
                ) => Some(format!(
                    "`{}` ({what}; save it as a matrix of real numbers)",
                    variable.path
                )),
                _ => None,
            });
        Ok(Self {
            arrays: arrays.collect(),
            left_out: objects.collect(),
            variables,
        })
    }

    fn content(&self, name: &str) -> Option<&Content> {
        let found = self.variables.iter().find(|variable| variable.path == name);
        found.map(|variable| &variable.content)
    }

    fn array(&self, name: &str) -> Result<Option<&StoredArray>, Problem> {
        match self.content(name) {
            Some(Content::Array(array)) => Ok(Some(array)),
            Some(Content::Other(found)) => Err(Problem::NotNumeric {
                object: format!("variable `{name}`"),
                found: (*found).to_owned(),
            }),
            _ => Ok(None),
        }
    }
}

impl Tree for Matlab5Tree {
    fn separator(&self) -> char {
        '.'
    }

    fn arrays(&self) -> &[Listed] {
        &self.arrays
    }

    fn left_out(&self) -> &[String] {
        &self.left_out
    }

    fn values(&self, name: &str) -> Result<Option<ArrayD<f32>>, Problem> {
        let array = self.array(name)?;
        array
            .map(|array| array.decode(name, |x| x as f32))
            .transpose()
    }

    fn numbers(&self, name: &str) -> Result<Option<Vec<f64>>, Problem> {
        let Ok(Some(array)) = self.array(name) else {
            return Ok(None);
        };
        Ok(Some(array.decode(name, |x| x)?.into_raw_vec_and_offset().0))
    }

    fn scalar(&self, group: &str, name: &str) -> Result<Option<f64>, Problem> {
        let name = self.join(group, name);
        let shape = self.shape(&name);
        match shape.is_some_and(|shape| shape.iter().all(|&n| n == 1)) {
            true => Ok(self.numbers(&name)?.and_then(|n| n.first().copied())),
            false => Ok(None),
        }
    }

    fn text(&self, group: &str, name: &str) -> Option<String> {
        match self.content(&self.join(group, name)) {
            Some(Content::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn texts(&self, name: &str) -> Option<Vec<String>> {
        // A cell array of texts.
        let element = |n: usize| match self.content(&format!("{name}{{{n}}}"))? {
            Content::Text(text) => Some(text.clone()),
            _ => None,
        };
        let texts: Vec<String> = (1..).map_while(element).collect();
        (!texts.is_empty()).then_some(texts)
    }
}
